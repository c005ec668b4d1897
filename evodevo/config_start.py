"""Adapt the config of a run that starts from another run's genome."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evodevo.errors import UsageError
from evodevo.evolution import rng
from evodevo.evolution.space import FixedLocus, FloatLocus, Space, Value

if TYPE_CHECKING:
    from evodevo.config import RunConfig


def with_initials(config: "RunConfig", genome: Mapping[str, Value]) -> tuple["RunConfig", list[str]]:
    """Return `config` with the values of `genome` as initial values, and lines that report the changes.

    A locus keeps its initial value if the genome's is missing or not valid for it. Loci in `search.start.fix`
    are fixed at the genome's values, which settles conditions of other loci; a locus whose condition can no
    longer hold is dropped. Raises `UsageError` if a locus cannot be fixed.
    """
    space, start = Space(config.search.loci), config.search.start
    fix = set(start.fix) if start else set()
    loci: dict[str, Any] = {}
    taken, kept, fixed = [], [], []
    left_out: set[str] = set()
    for name in space.conditions_first:
        locus, value = space.loci[name], genome.get(name)
        if isinstance(locus, FloatLocus) and type(value) is int:
            value = float(value)
        decided = {other: loci[other] for other in locus.when if fix and _is_fixed(loci.get(other))}
        if left_out & locus.when.keys() or any(
            not space.meets(other, at.value, locus.when[other]) for other, at in decided.items()
        ):
            left_out.add(name)
            continue
        when = {other: wanted for other, wanted in locus.when.items() if other not in decided}
        said = f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}"
        possible = name in genome and locus.contains(value)
        if name in fix and not possible:
            why = f"{value!r} is not possible here" if name in genome else "the run has no such locus"
            raise UsageError(
                f"search.start.fix: {name} cannot be fixed at the value found: {why}; leave it out of fix"
            )
        if name in fix:
            loci[name] = FixedLocus(type="fixed", value=value, when=when)
            fixed.append(said)
        elif locus.evolves and possible:
            loci[name] = locus.model_copy(update={"initial": value, "when": when})
            taken.append(said)
        else:
            loci[name] = locus.model_copy(update={"when": when})
            if locus.evolves:
                kept.append(
                    f"{name} ({f'{value!r} is not possible here' if name in genome else 'not in it'})"
                )
    facts = [f"initial: {', '.join(taken) or 'nothing'} of its genome"]
    facts += [f"initial as given: {', '.join(kept)}"] if kept else []
    facts += [f"fixed: {', '.join(fixed)}"] if fixed else []
    facts += [f"left out, as their conditions cannot hold: {', '.join(sorted(left_out))}"] if left_out else []
    update: dict[str, Any] = {"loci": {name: loci[name] for name in space.loci if name in loci}}
    if start and fix:
        update["start"] = start.model_copy(update={"fix": []})
    return config.model_copy(update={"search": config.search.model_copy(update=update)}), facts


def stand_in(config: "RunConfig") -> dict[str, Value]:
    """Return a genome as a stand-in for one still to be found: initial values, or random ones if missing."""
    any_value = rng.stream(config.run.seed, 0, 0, "stand-in")
    return {
        name: locus.initial if locus.contains(locus.initial) else locus.sample(any_value)
        for name, locus in config.search.loci.items()
    }


def _is_fixed(locus: Any) -> bool:
    return isinstance(locus, FixedLocus)
