"""Follow a run from outside, through its journal's file or through a service, and summarize it."""

import contextlib
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from evodevo.config_phases import set_of
from evodevo.errors import UsageError
from evodevo.evolution.fitness import best_first
from evodevo.run.collector import without_gc
from evodevo.run.history import History, load_history
from evodevo.run.journal import JournalError, Record, Tail, holder_of
from evodevo.run.setup import JOURNAL
from evodevo.run.tracking import problems_in

MANY = 10_000
"""Maximum number of records that a source returns at a time; if it returns that many, there may be more."""

AT_WORK = ("running", "waiting")
State = Literal["running", "waiting", "done", "failed", "cancelled", "interrupted"]


@dataclass(frozen=True)
class Reading:
    """What is new in a journal, and the circumstances of its run.

    `live`: a controller is at work. `workers`: how many it can use; None if unknown. `problems`: why it has
    no workers at all, why the controller stopped, or what is wrong with a tracker. `unused_workers`: how many
    are connected and get no work from it; None if unknown. `unused_why`: the reasons for the first of them.
    """

    records: Sequence[Record]
    live: bool
    workers: int | None = None
    problems: Sequence[str] = ()
    unused_workers: int | None = None
    unused_why: Sequence[str] = ()
    waits: str = ""
    """What the controller waits for other than workers, such as space on a disk."""
    by_heartbeat: str = ""
    """Who carries out the run, if that is not known from a lock."""


class Source(Protocol):
    def read(self, since: int) -> Reading:
        """Return the records from number `since` on."""
        ...


class FileSource:
    """The journal in a run's directory; needs no scheduler."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / JOURNAL
        if not self.path.exists():
            raise UsageError(
                f"{directory} is not a run directory: {JOURNAL} not found. `evodevo status` lists the runs."
            )
        self._tail = Tail(self.path)

    def read(self, since: int) -> Reading:
        holder = holder_of(self.path)  # first, so that a live controller's last records are seen
        records = self._tail.read(MANY)
        if not records and since == 0:
            raise UsageError(f"{self.path} is empty: the run was never begun")
        by_heartbeat = "" if holder is None or holder.has_lock else f"carried out by {holder}"
        problems = problems_in(self.path.parent)
        return Reading(records, holder is not None, problems=problems, by_heartbeat=by_heartbeat)


@dataclass(frozen=True)
class Status:
    """Where a run stands.

    `generation` is the number of complete generations; `members_done` counts finished members of the others,
    out of `population` if one generation is at work at a time. `legs_done`, of at most `legs`, are those of
    the only life of a run that has a single one. `best_fom` is the best of the whole run, or of that life's
    legs so far; `median_fom` is that of the last generation with outcomes, if generations have several
    members. `remaining_s` is an estimate from the seconds per member so far. `workers` can be used;
    `unused_workers` are connected and get no work from this run, for the reasons `unused_why` (of the first
    ones, each naming its worker). They are None if unknown.
    """

    name: str
    state: State
    generation: int
    generations: int
    members_done: int
    population: int
    legs_done: int
    legs: int
    metric: str
    mode: str
    best_fom: float | None
    best_member: str | None
    median_fom: float | None
    failed: int
    diverged: int
    lost_attempts: int
    elapsed_s: float
    remaining_s: float | None
    workers: int | None
    unused_workers: int | None
    unused_why: Sequence[str]
    message: str | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        legs = f"leg {self.legs_done} of at most {self.legs}"
        progress = legs if self.legs > 1 else f"generation {self.generation}/{self.generations}"
        best = "" if self.best_fom is None else f", best {self.metric} {self.best_fom:.6g}"
        return f"{self.name}: {self.state}, {progress}{best}"

    def __repr__(self) -> str:
        return f"<Status of {self}>"


class View:
    """A run as seen through a source; `refresh` brings it up to date."""

    def __init__(self, name: str, source: Source) -> None:
        self.name = name
        self.history = History()
        self._source = source
        self._seen = 0
        self._last = Reading((), live=False)

    def refresh(self) -> Status:
        while True:
            with without_gc():
                self._last = self._source.read(self._seen)
                for record in self._last.records:
                    self.history.apply(record)
            self._seen += len(self._last.records)
            if len(self._last.records) < MANY:
                return self.status()

    @property
    def seen(self) -> int:
        """Number of records of the journal that have been read."""
        return self._seen

    @property
    def over(self) -> bool:
        """Whether no controller is at work on the run any more."""
        return not self._last.live

    def status(self) -> Status:
        history, search = self.history, self.history.config.search
        done = history.completed()
        total, behind = search.generations * search.population, len(history.over)
        latest = next((g for g in reversed(history.generations) if any(life.outcome for life in g)), [])
        foms = [life.fom for life in latest if life.fom is not None and search.population > 1]
        state = self._state()
        legs = [leg.fom for leg in history.births[0].outcomes()] if total == 1 and history.births else []
        best_fom, best_member = _best_of(history, legs)
        return Status(
            name=self.name,
            state=state,
            generation=done,
            generations=search.generations,
            members_done=behind - done * search.population,
            population=search.population,
            legs_done=len(legs),
            legs=search.legs if total == 1 else 1,
            metric=history.config.objective.metric,
            mode=history.config.objective.mode,
            best_fom=best_fom,
            best_member=best_member,
            median_fom=statistics.median(foms) if foms else None,
            failed=history.failed,
            diverged=history.unsuccessful - history.failed,
            lost_attempts=history.lost_attempts,
            elapsed_s=history.elapsed_s,
            remaining_s=history.elapsed_s * (total - behind) / behind
            if behind and state == "running"
            else None,
            workers=self._last.workers,
            unused_workers=self._last.unused_workers,
            unused_why=list(self._last.unused_why),
            message=history.reason
            or "; ".join([*self._waits(state), *self._last.problems, *self._too_few(state)])
            or self._last.by_heartbeat
            or None,
        )

    def _state(self) -> State:
        if self.history.end:
            return self.history.end
        if not self._last.live:
            return "interrupted"
        if self._last.waits or self.history.trouble:
            return "waiting"
        needed = self.history.config.cluster.workers_per_member
        return "running" if self._last.workers is None or self._last.workers >= needed else "waiting"

    def _waits(self, state: State) -> list[str]:
        """Return what a run waits for other than workers."""
        why = self._last.waits or self.history.trouble
        return [f"waiting: {why}"] if state == "waiting" and why else []

    def _too_few(self, state: State) -> list[str]:
        """Return what a run waits for if it has fewer workers than each member needs."""
        needed, there = self.history.config.cluster.workers_per_member, self._last.workers
        if state != "waiting" or there is None or there >= needed:
            return []
        if there == 0:  # if some are connected, the problems say why the run cannot use them
            return [] if self._last.problems else ["no worker is connected"]
        are = "is" if there == 1 else "are"
        return [f"waits for {needed} workers (cluster.workers_per_member); {there} {are} connected"]


def _best_of(history: History, legs: Sequence[float | None]) -> tuple[float | None, str | None]:
    """Return the best fom and whose it is: a member's or, while the only life is unfinished, a leg's."""
    if best := history.best:
        return best.fom, best.id
    for at in best_first(legs, history.config.objective.mode)[:1]:
        if (fom := legs[at]) is not None:
            return fom, f"leg {at + 1}"
    return None, None


def refuse_live(directory: Path) -> None:
    """Raise `UsageError`, naming the controller, if one is at work on the run in `directory`.

    A controller that has only just started may not be in the journal yet; then the previous one is named.
    """
    if holder := holder_of(directory / JOURNAL):
        about = load_history(directory / JOURNAL).controller
        who = ", ".join(f"{key} {about[key]}" for key in ("host", "pid", "scheduler") if key in about)
        how = "" if holder.has_lock else f": {holder}"
        message = f"run {directory.name!r} is being carried out by another controller ({who}){how};"
        raise UsageError(
            f'{message} `evodevo.open_run("{directory}").wait()` follows it',
            f"{message} `evodevo watch {directory.name}` follows it",
        )


def idleness(count: int | None, reasons: Sequence[str]) -> str:
    """Return one line: how many workers get no work, and why the first one does not; empty if all do."""
    if not count:
        return ""
    return f"{count} worker{' gets' if count == 1 else 's get'} no work; {reasons[0]}"


def troubles(status: Status) -> list[str]:
    """Return the numbers of failed and diverged members and of lost attempts, in words; none that is 0."""
    counts = (status.failed, "failed"), (status.diverged, "diverged"), (status.lost_attempts, "attempts lost")
    return [f"{count} {what}" for count, what in counts if count]


def remark(status: Status) -> str:
    """Return what there is to say about a run on one line: its message, or what keeps workers idle."""
    if status.message:
        return brief(status.message)
    return idleness(status.unused_workers, status.unused_why) if status.state in AT_WORK else ""


def brief(text: str) -> str:
    """Return the first and last line of a message, or only the last line of a traceback."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    if len(lines) == 1 or lines[0].startswith("Traceback"):
        return lines[-1]
    return f"{lines[0]} … {lines[-1]}"


def runs_in(runs_dir: Path) -> list[str]:
    """Return the names of the runs in `runs_dir`, oldest first."""
    runs = [path.parent for path in runs_dir.glob(f"[!.]*/{JOURNAL}")]
    return [run.name for run in sorted(runs, key=_made_at)]


def phases_begun(name: str, runs_dir: Path) -> list[str]:
    """Return the phases of `name` that have begun, in order; empty if it does not name a set of phases."""
    found = {}
    for run in runs_in(runs_dir):
        if run.startswith(f"{name}-"):
            with contextlib.suppress(JournalError, UsageError, OSError):
                config = load_history(runs_dir / run / JOURNAL).config
                if config.phase is not None and set_of(config) == name:
                    found[config.phase] = run
    return [found[phase] for phase in sorted(found)]


def directory_of(run: str, runs_dir: str) -> Path:
    """Return the directory of a run, given its name in `runs_dir` or its path. Raises `UsageError`.

    The name of a set of phases stands for the last phase that has begun.
    """
    for directory in (Path(runs_dir, run), Path(run)):
        if (directory / JOURNAL).exists():
            return directory
    if phases := phases_begun(run, Path(runs_dir)):
        return Path(runs_dir, phases[-1])
    known = ", ".join(runs_in(Path(runs_dir))) or "none"
    raise UsageError(f"no run {run!r} in {Path(runs_dir).absolute()}; there are: {known}")


def _made_at(run: Path) -> float:
    """Return when a run was created, which is the time of its config file."""
    config = run / "config.yaml"
    return config.stat().st_mtime if config.exists() else 0.0
