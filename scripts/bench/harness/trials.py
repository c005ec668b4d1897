"""Rows of the fault matrix, their trials, the file with their results, and the table."""

import json
import random
import shutil
import statistics
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.growth import Point, Watch
from harness.processes import PACES, STOPPED, Cluster, Zygote, until, write_config
from harness.stories import records_of, recovery_s, story

Story = tuple[Any, Any, Any]


class NotHere(Exception):
    """Raised if this machine lacks something that a fault needs; the message says what."""


@dataclass(frozen=True)
class Trial:
    """The result of a trial. `identical` is None if there is no history to compare."""

    injected: int = 1
    survived: bool = True
    identical: bool | None = None
    recovery_s: tuple[float, ...] = ()
    note: str = ""
    row: str = ""
    key: str = ""
    not_run: str = ""


@dataclass(frozen=True)
class Row:
    """A kind of fault. `keys` returns the names of its trials; `quick` is how many of them `--quick` runs."""

    name: str
    fault: str
    keys: Callable[["Lab"], Sequence[str]]
    trial: Callable[["Lab", str], Trial]
    quick: int = 0


class Lab:
    """What trials share: the zygote, a directory, and the histories of undisturbed runs."""

    def __init__(self, zygote: Zygote, directory: Path, quick: bool = False, seed: int = 0) -> None:
        self.zygote, self.directory, self.quick, self.seed = zygote, directory, quick, seed
        self._lock = threading.Lock()
        self._sample: Path | None = None
        self._locks: dict[str, threading.Lock] = {}
        """A lock per undisturbed run: each is made once, without blocking trials that need another one."""
        self._undisturbed: dict[str, tuple[Story, list[dict[str, Any]], list[Point]]] = {}

    @contextmanager
    def cluster(self, name: str, runs: Path | None = None, **settings: str) -> Iterator[Cluster]:
        """Make a cluster in a new directory, which is kept if the trial fails."""
        directory = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.directory))
        cluster = Cluster(self.zygote, directory, runs, **settings)
        try:
            yield cluster
        finally:
            cluster.end()
        shutil.rmtree(directory, ignore_errors=True)

    def undisturbed(self, **changes: Any) -> Story:
        """Return the story of an undisturbed run."""
        return self._undisturbed_of(changes)[0]

    def records(self, **changes: Any) -> list[dict[str, Any]]:
        """Return the records of an undisturbed run."""
        return self._undisturbed_of(changes)[1]

    def points(self, **changes: Any) -> list[Point]:
        """Return the measurements of the scheduler of an undisturbed run."""
        return self._undisturbed_of(changes)[2]

    def _undisturbed_of(self, changes: Mapping[str, Any]) -> tuple[Story, list[dict[str, Any]], list[Point]]:
        key = json.dumps(changes, sort_keys=True)
        with self._lock:
            own = self._locks.setdefault(key, threading.Lock())
        with own:
            if key not in self._undisturbed:
                with self.cluster("undisturbed") as cluster:
                    cluster.begin(write_config(cluster.directory, "run", **changes), workers=2)
                    run = cluster.runs / "run"
                    watch = Watch(cluster, run)
                    until(watch.has_ended, "the undisturbed run", within_s=1800)
                    self._undisturbed[key] = story(run), records_of(run), watch.points
        return self._undisturbed[key]

    def sample(self) -> Path:
        """Return the directory of a small finished run with all its products."""
        with self._lock:
            if self._sample is None:
                self._sample = Path(tempfile.mkdtemp(prefix="sample-", dir=self.directory)) / "run"
                with self.cluster("sample") as cluster:
                    cluster.begin(write_config(cluster.directory, "run"))
                    run = cluster.runs / "run"
                    until((run / "report" / "index.html").exists, "the report of the sample")
                    until(lambda: not (run / "controller.json").exists(), "its controller to be gone")
                    shutil.copytree(run, self._sample)
            return self._sample

    def compared(
        self, run: Path, at: Iterable[float] = (), injected: int = 1, note: str = "", **changes: Any
    ) -> Trial:
        """Compare the story of a finished run with that of an undisturbed one.

        `at`: the times of the faults (or of their ends), from which recovery is measured.
        """
        told, records = story(run), records_of(run)
        found = [recovery_s(records, time) for time in at]
        took = tuple(round(seconds, 3) for seconds in found if seconds is not None)
        identical = told == self.undisturbed(**changes)
        return Trial(injected, told[0] == "done", identical, took, note)


def each_pace(quick: Callable[["Lab", str], Sequence[str]]) -> Callable[["Lab"], list[str]]:
    """Return the keys of a row that has the same trials in each pace, prefixed by the pace."""

    def keys(lab: "Lab") -> list[str]:
        return [f"{pace}/{rest}" for pace in PACES for rest in quick(lab, pace)]

    return keys


class Results:
    """The results so far. With a file, earlier results are read from it and each new one is appended."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.found: dict[tuple[str, str], Trial] = {}
        self._lock = threading.Lock()
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                data = json.loads(line)
                if "row" in data:
                    trial = Trial(**{**data, "recovery_s": tuple(data["recovery_s"])})
                    self.found[trial.row, trial.key] = trial

    def is_done(self, row: str, key: str) -> bool:
        """Return whether a trial has succeeded; others are repeated."""
        trial = self.found.get((row, key))
        return trial is not None and trial.survived and trial.identical is not False and not trial.not_run

    def add(self, trial: Trial) -> None:
        with self._lock:
            self.found[trial.row, trial.key] = trial
            self.note(asdict(trial))

    def note(self, data: Mapping[str, Any]) -> None:
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(data) + "\n")

    def of(self, row: str) -> list[Trial]:
        return [trial for trial in self.found.values() if trial.row == row]


def carry_out(
    rows: Sequence[Row], lab: Lab, results: Results, lanes: int, say: Callable[[str], None]
) -> None:
    """Run all trials that are not done yet, `lanes` at a time."""
    pool = ThreadPoolExecutor(lanes)
    futures: list[Future[None]] = []
    try:
        for row in rows:
            keys = list(row.keys(lab))
            if lab.quick:
                keys = sorted(random.Random(lab.seed).sample(keys, min(row.quick, len(keys))))
            for key in keys:
                if not results.is_done(row.name, key):
                    futures.append(pool.submit(_attempt, row, key, lab, results, say))
        wait(futures)
    except BaseException:
        STOPPED.set()
        pool.shutdown(wait=False, cancel_futures=True)
        wait(future for future in futures if not future.cancelled())
        raise


def _attempt(row: Row, key: str, lab: Lab, results: Results, say: Callable[[str], None]) -> None:
    try:
        trial = row.trial(lab, key)
    except NotHere as why:
        trial = Trial(0, not_run=str(why))
    except BaseException:
        trial = Trial(survived=False, note=traceback.format_exc()[-3000:])
    trial = replace(trial, row=row.name, key=key)
    results.add(trial)
    say(f"{row.name} {key}: {_verdict(trial)}")


def _verdict(trial: Trial) -> str:
    if trial.not_run:
        return f"not run: {trial.not_run}"
    words = ["survived" if trial.survived else "NOT SURVIVED"]
    if trial.identical is not None:
        words.append("identical" if trial.identical else "DIFFERENT HISTORY")
    if trial.recovery_s:
        words.append(f"{max(trial.recovery_s):.2f} s")
    return ", ".join([*words, *([trial.note] if trial.note else [])])


def table(rows: Sequence[Row], results: Results) -> str:
    """Return the results as a Markdown table."""
    lines = [
        "| fault | times | survived | identical history | seconds to recover: median (worst) |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        trials = results.of(row.name)
        ran = [trial for trial in trials if not trial.not_run]
        if not ran:
            why = trials[0].not_run if trials else "left out"
            lines.append(f"| {row.fault} | not run: {why} | | | |")
            continue
        injected = sum(trial.injected for trial in ran)
        survived = sum(trial.injected for trial in ran if trial.survived)
        compared = [trial for trial in ran if trial.identical is not None]
        same = sum(trial.injected for trial in compared if trial.identical)
        took = [seconds for trial in ran for seconds in trial.recovery_s]
        recovery = f"{statistics.median(took):.2f} ({max(took):.2f})" if took else "-"
        lines.append(
            f"| {row.fault} | {injected:,} | {survived:,} | {f'{same:,}' if compared else '-'} | {recovery} |"
        )
    return "\n".join(lines)


def went_wrong(rows: Sequence[Row], results: Results) -> list[Trial]:
    """Return the failed trials: those that a run did not survive, or that changed its history."""
    return [
        trial
        for row in rows
        for trial in results.of(row.name)
        if not trial.survived or trial.identical is False
    ]
