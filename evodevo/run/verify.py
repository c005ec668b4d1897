"""Check whether a run is intact: each record of its journal, and each checkpoint that should exist.

Nothing is written, and no user code is imported.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from evodevo.errors import RunFailed, UsageError
from evodevo.evolution.strategies import STRATEGIES
from evodevo.run import structure
from evodevo.run.checkpoints import CheckpointError, CheckpointStore
from evodevo.run.history import History
from evodevo.run.journal import JournalError, is_live, parse
from evodevo.run.life import Life
from evodevo.run.pacing import pacing_of
from evodevo.run.recipes import Recipes
from evodevo.run.records import CheckpointRef
from evodevo.run.retention import needed_checkpoints
from evodevo.run.setup import JOURNAL, job_of


@dataclass
class Findings:
    """What was checked, and a line for each problem."""

    records: int = 0
    checkpoints: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)
    """Names of the checkpoints that should exist."""
    damaged: list[CheckpointRef] = field(default_factory=list)
    """The checkpoints among them that are not as they were published."""
    history: History | None = None
    """What the journal says; None if it cannot be read to its end."""


def verify(directory: Path) -> Findings:
    """Check the run in `directory`. Raises `UsageError` if its checkpoint store cannot be read."""
    found = check_journal(directory / JOURNAL)
    if found.history is None:
        found.notes.append("checkpoints were not checked, because the journal cannot be read")
        return found
    check_checkpoints(directory, found)
    if found.damaged and is_live(directory / JOURNAL):  # the live run may have deleted some since
        found = check_journal(directory / JOURNAL)
        if found.history is not None:
            check_checkpoints(directory, found)
    return found


def check_journal(path: Path) -> Findings:
    """Check each record by itself (checksum, number, form), and its content against those before it.

    A truncated record at the end is not damage: its writer was killed, and it never counted.
    """
    found, history = Findings(), History()
    intact = True
    for line in _lines(path):
        number = found.records
        found.records += 1
        try:
            (record,), _ = parse(line, str(path), number)
        except (JournalError, *structure.MALFORMED) as why:
            if not _is_intact_elsewhere(line):
                found.problems.append(_one_line(f"{path}: record {number}: {_of_record(why)}"))
            elif intact:
                found.problems.append(_one_line(f"{path}: {why}"))
            intact = False
            continue
        if intact:
            try:
                history.apply(record)
            except (JournalError, UsageError) as why:
                found.problems.append(_one_line(f"{path}: {why}"))
                intact = False
    if not found.records:
        found.problems.append(f"{path} is empty: the run was never begun")
    elif intact and not history.run_id and "begun" not in vars(history):
        found.problems.append(f"{path} does not say what the run is")
    elif intact:
        found.history = history
    return found


def check_checkpoints(directory: Path, found: Findings) -> None:
    """Check the size and the sha256 of each checkpoint that the run keeps."""
    history = found.history
    assert history is not None
    store = CheckpointStore(job_of(history.config, directory, history.run_id).checkpoints_url)
    refs, for_more = kept_checkpoints(history)
    try:
        _look(store, refs, found)
        if for_more and not found.damaged and {ref.name for ref in for_more}.isdisjoint(store.names()):
            found.notes.append(
                f"the {len(for_more)} checkpoints that more generations would start from are missing, as "
                "after `evodevo prune`"
            )
        else:
            _look(store, for_more, found)
    except CheckpointError as why:
        raise UsageError(str(why)) from None


def _look(store: CheckpointStore, refs: Iterable[CheckpointRef], found: Findings) -> None:
    for ref in refs:
        found.checkpoints += 1
        found.kept.add(ref.name)
        if why := store.damage(ref):
            found.problems.append(_one_line(why))
            found.damaged.append(ref)


def kept_checkpoints(history: History) -> tuple[list[CheckpointRef], list[CheckpointRef]]:
    """Return the checkpoints that must exist, and those that only an extension of a done run needs.

    `evodevo prune` deletes the latter. A user's strategy is not imported, so checkpoints that only it knows
    to be needed are left out.
    """
    recipes = Recipes(history)
    refs = {recipe.ref.name: recipe.ref for name in _needed(history) if (recipe := recipes.of(name))}
    copied = (outcome.checkpoint for _, outcome in history.known.values())  # by `search.reuse`
    refs.update({ref.name: ref for ref in copied if ref})
    best = history.best.outcome.checkpoint if history.best and history.best.outcome else None
    soup = history.soup.checkpoint if history.soup else None
    always = {ref.name: ref for ref in (best, history.start, soup) if ref}
    rest = [ref for name, ref in sorted(refs.items()) if name not in always]
    if history.end == "done":
        return [*always.values()], rest
    return [*always.values(), *rest], []


def _needed(history: History) -> set[str]:
    """Return the names of the checkpoints that a run keeps as it stands."""

    def never(life: Life) -> bool:
        return False

    if history.config.search.strategy in STRATEGIES:
        try:
            pacing = pacing_of(history.config.strategy(), history)
            return needed_checkpoints(history, pacing.may_inherit, pacing.open)
        except (RunFailed, *structure.MALFORMED):
            pass  # how a strategy copes with such a history is not checked here
    return needed_checkpoints(history, never, never)


def _lines(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line


def _is_intact_elsewhere(line: bytes) -> bool:
    """Return whether a line is an intact record in the wrong place."""
    try:
        parse(line, "", json.loads(line)["n"])
    except (JournalError, *structure.MALFORMED):
        return False
    return True


def _of_record(why: Exception) -> str:
    return "is damaged (checksum)" if isinstance(why, JournalError) else f"cannot be read: {why}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
