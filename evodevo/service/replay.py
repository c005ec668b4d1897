"""Train once from scratch along a schedule, as a separate run, and compare it with the original."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evodevo.config import RunConfig
from evodevo.config_search import Start
from evodevo.errors import UsageError
from evodevo.evolution.rng import network_seed, training_seed
from evodevo.report.schedule import Entry, Schedule
from evodevo.run.history import History


@dataclass(frozen=True)
class Comparison:
    """The results of a replay and of the original. `identical`: the checkpoints are equal byte for byte."""

    original_fom: float | None
    replayed_fom: float | None
    identical: bool

    @property
    def gap(self) -> float:
        """Replayed minus original; NaN if either has no fom."""
        if self.original_fom is None or self.replayed_fom is None:
            return math.nan
        return self.replayed_fom - self.original_fom

    def text(self, schedule: Schedule, seed: int | None = None) -> str:
        """Return the comparison as text; `seed` is that of the replay, if it was given one."""
        lives = len(schedule.entries)
        means = sum(entry.mean_of > 1 for entry in schedule.entries)
        count = len(schedule.entries[0].networks)
        lines = f", a line for each of {count} networks" if count > 1 else ""
        reasons = []
        if seed is not None:
            reasons.append(f"it had other seeds than --seed {seed}")
        if means:
            repeated = "a mean of members, which a single line cannot repeat"
            reasons.append(f"{means} of {lives} lives started from {repeated}")
        if self.identical:
            same = "the same as the original's, bit for bit"
        elif reasons:
            same = f"differ from the original's: {', and '.join(reasons)}"
        else:
            same = "not the same as the original's"
        founder = schedule.entries[0].member
        return (
            f"lineage: {lives} lives from the founder {founder} to {schedule.member}{lines}\n"
            f"{schedule.metric}: original {self.original_fom}, replayed {self.replayed_fom}, "
            f"gap {self.gap:+.6g}\n"
            f"parameters: {same}"
        )


def replay_config(
    config: RunConfig, schedule: Schedule, name: str, seed: int | None = None, original: Path | None = None
) -> RunConfig:
    """Return the config of a run with one member that is trained along `schedule`.

    It uses the training seeds of the original, or others derived from `seed`, which show how much of the
    result is due to luck. If the original (in the directory `original`) started from another run, the replay
    starts from the same parameters.
    """
    given = config.search.start
    ploidy = config.search.ploidy
    if ploidy > 1 and not all(len(entry.networks) == ploidy for entry in schedule.entries):
        raise UsageError(
            f"the {ploidy} networks of {schedule.member} were trained for different numbers of generations, "
            "so their schedules cannot be replayed side by side"
        )
    start = Start(run=str(original.absolute()), take="start") if original and given else None
    start = None if given and given.take == "genome" else start
    seeds = [
        entry.training_seed if seed is None else training_seed(seed, epoch, 0)
        for epoch, entry in enumerate(schedule.entries)
    ]
    lengths = [entry.epochs // entry.legs for entry in schedule.entries]
    each = [
        _networks(entry, None if seed is None else its)
        for entry, its in zip(schedule.entries, seeds, strict=True)
    ]
    search = config.search.model_copy(
        update={
            "strategy": "replay",
            "population": 1,
            "demes": None,
            "recombine": None,
            "soup": False,
            "generations": len(schedule.entries),
            "epochs_per_generation": 1 if config.search.steps_per_generation else lengths,
            "pace": "generations",
            "pool": None,
            "goal": None,
            "plateau": None,
            "stop_early": None,
            "genomes": "own" if ploidy > 1 else "one",
            "reuse": None,
            "phases": None,
            "start": start,
            "options": {
                "genomes": [dict(entry.genome) for entry in schedule.entries],
                "training_seeds": seeds,
                "legs": [entry.legs for entry in schedule.entries],
                **({"networks": each} if ploidy > 1 else {}),
            },
        }
    )
    run = config.run.model_copy(update={"name": name})
    limits = config.limits.model_copy(update={"wall_time_s": None})  # a replay must not stop early
    alone: dict[str, Any] = {"phases": [], "phase": None}
    return config.model_copy(update={"run": run, "search": search, "limits": limits, **alone})


def compare_replay(schedule: Schedule, replayed: History) -> Comparison:
    """Compare the last member of a replay with the one whose schedule it followed."""
    last = replayed.generations[-1][0]
    checkpoint = last.outcome.checkpoint if last.outcome else None
    return Comparison(
        schedule.fom,
        last.fom,
        identical=checkpoint is not None and checkpoint.sha256 == schedule.checkpoint_sha256,
    )


def _networks(entry: Entry, seed: int | None) -> list[dict[str, Any]]:
    """Return the genome and training seed of each network in one life; seeds derive from `seed` if given."""
    return [
        {
            "genome": dict(one["genome"]),
            "training_seed": one["training_seed"] if seed is None else network_seed(seed, at),
        }
        for at, one in enumerate(entry.networks)
    ]
