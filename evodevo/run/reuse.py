"""`search.reuse`: outcomes of another run, for members of a new one with the same hyperparameters.

They are copied into the new run's journal, and the best one's checkpoint into its store, so the other run can
be deleted afterwards.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from evodevo.config import RunConfig
from evodevo.errors import UsageError
from evodevo.run.checkpoints import CheckpointError, CheckpointStore
from evodevo.run.events import Known
from evodevo.run.history import History, load_history
from evodevo.run.journal import JOURNAL
from evodevo.run.records import CheckpointRef, Outcome
from evodevo.run.twins import key_of

SECTIONS = ("workload", "objective", "data")
KEYS = {
    "search": (
        *("legs", "steps_per_generation", "stop_early", "patience"),
        *("judge", "average_half_life", "initialisation"),
        *("ploidy", "genomes"),
    ),
    "limits": ("member_time_s",),
    "cluster": ("threads_per_member", "workers_per_member", "batch_norm"),
}
"""Keys that must be equal for an outcome to hold in the new run."""


def load_known(
    config: RunConfig, runs_dir: Path, data: Mapping[str, str], start: CheckpointRef | None = None
) -> tuple[History, Path] | None:
    """Return the history that `config.search.reuse` names, and its directory; None if it names none.

    `start`: the checkpoint of another run that members start from, if any. Raises `UsageError` if there is no
    such run, or if its outcomes are those of a different training.
    """
    name = config.search.reuse
    if name is None:
        return None
    directory = Path(name) if "/" in name else runs_dir / name
    try:
        is_there = (directory / JOURNAL).is_file()
    except (OSError, ValueError):
        is_there = False
    if not is_there:
        raise _wrong(f"no run found in {directory.absolute()}")
    history = load_history(directory / JOURNAL)
    if history.inherits:
        raise _wrong(f"members of run {name!r} inherit parameters, so their outcomes cannot be reused")
    if differing := _differing(config, history.config):
        raise _wrong(f"{', '.join(differing)} of run {name!r} differ, so its outcomes cannot be reused")
    if (start and start.sha256) != (history.start and history.start.sha256):
        raise _wrong(f"members of run {name!r} do not start from the same parameters (search.start)")
    theirs = history.begun.data
    if splits := [split for split in theirs if split in data and theirs[split] != data[split]]:
        raise _wrong(f"the data of run {name!r} differ: {', '.join(splits)}")
    return history, directory


def known_of(history: History, copied: CheckpointRef | None) -> Known:
    """Return the known outcomes of a history; `copied` is the copy of its best checkpoint."""
    space, outcomes, members = history.config.space(), dict[str, Outcome](), dict[str, str]()
    for key, (whose, outcome) in history.known.items():  # outcomes that it had reused itself
        outcomes[key], members[key] = replace(outcome, checkpoint=None), whose
    for life in history.lives():
        if life.outcome is None or life.status == "failed" or life.same_as:
            continue
        key = key_of(space, life.birth.genome)
        outcomes[key] = replace(life.outcome.without_times(), checkpoint=None)
        members[key] = life.id
    if history.best and copied:
        key = key_of(space, history.best.birth.genome)
        outcomes[key] = replace(outcomes[key], checkpoint=copied)
    return Known(history.config.run.name, history.run_id, outcomes, members)


def best_checkpoint(history: History, url: str) -> tuple[str, bytes] | None:
    """Return the name and content of the best member's checkpoint, if it has one. Raises `UsageError`."""
    ref = history.best.outcome.checkpoint if history.best and history.best.outcome else None
    try:
        return (ref.name, CheckpointStore(url).read(ref)) if ref else None
    except CheckpointError as why:
        raise _wrong(f"{why}; `evodevo verify RUN --repair` remakes it") from None


def _differing(one: RunConfig, other: RunConfig) -> list[str]:
    found = [section for section in SECTIONS if getattr(one, section) != getattr(other, section)]
    for section, keys in KEYS.items():
        mine, theirs = getattr(one, section), getattr(other, section)
        found += [f"{section}.{key}" for key in keys if getattr(mine, key) != getattr(theirs, key)]
    if one.search.leg_epochs(0) != other.search.leg_epochs(0):
        found.append("search.epochs_per_generation")
    return found


def _wrong(what: str) -> UsageError:
    return UsageError(f"search.reuse: {what}")
