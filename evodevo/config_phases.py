"""Expand `phases` of a config: searches in sequence, each starting from the result of the one before.

Each phase is a separate run, `NAME-PHASE`, whose config contains all phases. So the next phase can begin from
a journal alone, without the original file.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from evodevo.config_errors import nearest
from evodevo.config_start import stand_in, with_initials

if TYPE_CHECKING:
    from evodevo.config import RunConfig

OVERLAID = ("workload", "objective", "search", "data", "limits")
"""Sections that a phase may override."""
KEPT = (*OVERLAID, "checkpoints", "cluster")
Data = dict[str, Any]
Parse = Callable[[Mapping[str, Any], str], "RunConfig"]


def laid_out(data: Mapping[str, Any], where: str, parse: Parse) -> Data:
    """Return the data of the first phase's config, given `data` with all phases.

    Each phase searches the common loci and its own. Loci of earlier phases that it does not name are fixed at
    the values found. Raises `ValueError` for invalid phases, and what `parse` raises for the config of one;
    later phases are checked with initial values as stand-ins for those that will be found.
    """
    common = {key: value for key, value in data.items() if key not in ("phases", "phase")}
    names = _names(data["phases"])
    run = common.get("run")
    name = run.get("name") if isinstance(run, Mapping) else None
    if not isinstance(name, str):
        raise ValueError("run.name: is missing")
    if common.get("compare"):
        raise ValueError("compare: not supported with phases; leave one of them out")
    entries: list[Data] = []
    found: Data = {}
    for at, (phase, given) in enumerate(zip(names, data["phases"], strict=True)):
        overlay = {key: value for key, value in given.items() if key != "name"}
        one = _over(common, overlay)
        one["run"] = {**dict(run or {}), "name": f"{name}-{phase}"}
        label = f"{where}, phase {phase}"
        if at:
            before = f"{name}-{names[at - 1]}"
            one["search"] = _after(one["search"], overlay, entries[-1]["search"], found, before, phase)
        parsed = parse(one, label)
        entry = parsed.to_json()
        entries.append({"name": phase, **{key: entry[key] for key in KEPT}})
        checked = parsed
        if at:
            checked = parse(with_stand_ins(parsed, found).to_json(), label)
        found = {**found, **stand_in(checked)}
    return _data_of(entries, 0, name, entry["run"])


def next_of(config: "RunConfig") -> Data | None:
    """Return the data of the next phase's config; None for the last phase and for a run without phases."""
    at = config.phase
    if at is None or at + 1 >= len(config.phases):
        return None
    return _data_of(config.phases, at + 1, set_of(config), config.run.model_dump())


def set_of(config: "RunConfig") -> str:
    """Return the common name of a run's phases; the run's name if it has none."""
    if config.phase is None:
        return config.run.name
    return config.run.name.removesuffix(f"-{config.phases[config.phase]['name']}")


def run_names(config: "RunConfig") -> list[str]:
    """Return the names of the runs of all phases."""
    return [f"{set_of(config)}-{one['name']}" for one in config.phases] or [config.run.name]


def later_phases(config: "RunConfig", parse: Parse) -> list["RunConfig"]:
    """Return the configs of the phases after this one, with initial values for what will be found."""
    configs: list[RunConfig] = []
    found, current = stand_in(config), config
    while following := next_of(current):
        current = parse(following, "phases")
        configs.append(with_stand_ins(current, found))
        found = {**found, **stand_in(configs[-1])}
    return configs


def with_stand_ins(config: "RunConfig", genome: Mapping[str, Any]) -> "RunConfig":
    """Return the config as if the run that it starts from had found `genome`."""
    adapted, _ = with_initials(config, genome)
    return adapted.model_copy(update={"search": adapted.search.model_copy(update={"start": None})})


def problems(phases: list[Data], phase: int | None) -> list[str]:
    """Return what is wrong with `phase`, which only evodevo fills in."""
    if phase is not None and not 0 <= phase < len(phases):
        return ["phase: is filled in by evodevo; leave it out"]
    return []


def _data_of(entries: list[Data], at: int, name: str, run: Data) -> Data:
    phase = dict(entries[at])
    return {
        "run": {**run, "name": f"{name}-{phase.pop('name')}"},
        **phase,
        "phases": entries,
        "phase": at,
    }


def _names(phases: Any) -> list[str]:
    if not isinstance(phases, list) or not all(isinstance(one, Mapping) for one in phases):
        raise ValueError("phases: should be a list of mappings, each with a name and sections")
    names: list[str] = []
    for at, one in enumerate(phases):
        name = one.get("name")
        if name is None:
            raise ValueError(f"phases.{at}.name: is missing")
        if not isinstance(name, str) or not name:
            raise ValueError(f"phases.{at}.name: should be text, not {name!r}")
        if name in names:
            raise ValueError(
                f"phases.{at}.name: {name!r} is also the name of another phase; choose another name"
            )
        names.append(name)
        for key, value in one.items():
            if key != "name" and key not in OVERLAID:
                same = key in ("run", "cluster", "checkpoints")
                hint = "is the same for all phases" if same else "unknown key"
                raise ValueError(f"phases.{name}.{key}: {hint}; {nearest(str(key), ['name', *OVERLAID])}")
            if key != "name" and not isinstance(value, Mapping):
                raise ValueError(f"phases.{name}.{key}: should be a mapping of keys to values, not {value!r}")
    return names


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> Data:
    """Return `below` with the values of `above`, key by key; a locus with a type replaces the one below."""
    laid = dict(below)
    for key, value in above.items():
        there = laid.get(key)
        if isinstance(value, Mapping) and isinstance(there, Mapping) and "type" not in value:
            laid[key] = _over(there, value)
        else:
            laid[key] = value
    return laid


def _after(search: Data, overlay: Data, before: Data, found: Data, run: str, phase: str) -> Data:
    """Return the `search` of a phase that starts from the result of `run`, the phase before."""
    where = f"phases.{phase}.search"
    named = search.get("loci") or {}
    if not isinstance(named, Mapping):
        raise ValueError(f"{where}.loci: should be a mapping of keys to values, not {named!r}")
    loci = dict(before["loci"])
    for name, given in named.items():
        if not isinstance(given, Mapping | None):
            raise ValueError(f"{where}.loci.{name}: should be a mapping of keys to values, not {given!r}")
        if "type" not in (given or {}) and name not in loci:
            raise ValueError(
                f"{where}.loci.{name}: no earlier phase has a locus with this name; give its type; "
                f"{nearest(str(name), list(loci))}"
            )
        loci[name] = (
            _over(loci.get(name, {}), given or {}) if "type" not in (given or {}) else dict(given or {})
        )
        evolves = loci[name].get("type") != "fixed"
        if evolves and loci[name].get("initial") is None and name in found:
            loci[name]["initial"] = found[name]
    start = (overlay.get("search") or {}).get("start") or {}
    if not isinstance(start, Mapping) or not start.keys() <= {"take"} or start.get("take") == "start":
        raise ValueError(
            f"{where}.start: a phase starts from the one before; leave it out, or give take: genome (the "
            "default) or take: best, to take parameters as well"
        )
    fix = [name for name, locus in before["loci"].items() if name not in named and locus["type"] != "fixed"]
    return {**search, "loci": loci, "start": {"take": "genome", **start, "run": run, "fix": fix}}
