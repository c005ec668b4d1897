"""20,000 member-epochs of a millisecond with a fault every few seconds, and the scheduler's growth.

The growth is stated for the run with faults and for the undisturbed one: what they have in common is the
run's history, and any difference is what faults leave behind.
"""

import contextlib
import fcntl
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness import growth
from harness.damage import DAMAGES
from harness.inject import fill
from harness.processes import Cluster, Process, small_disk, until, write_config
from harness.stories import JOURNAL
from harness.trials import Lab, NotHere, Row, Trial

SIZE = {"search__population": 100, "search__generations": 200, "cluster__members_per_task": "auto"}
DISK_MEGABYTES = 400
EVERY_S = (2.0, 4.0)
WORKERS = 2


class Soak:
    """A run with faults that leave its scheduler alive."""

    def __init__(self, cluster: Cluster, run: Path, draw: random.Random) -> None:
        self._cluster, self._run, self._draw = cluster, run, draw
        self.watch = growth.Watch(cluster, run)
        self.faults: Counter[str] = Counter()
        self.at: list[float] = []
        self._workers: list[Process] = cluster.workers

    def keep_workers(self) -> None:
        for at, worker in enumerate(self._workers):
            if not worker.is_alive:
                self._cluster.start_worker()
                self._workers[at] = self._workers.pop()

    def commit_one(self, kinds: dict[str, Callable[[], None]]) -> None:
        kind = self._draw.choice(sorted(kinds))
        kinds[kind]()
        self.faults[kind] += 1
        self.at.append(time.time())

    def kinds(self, disk: Path | None) -> dict[str, Callable[[], None]]:
        """Return the faults by name; the full disk is left out without a small disk."""
        found = {"kill": self._kill, "stop": self._stop, "lock": self._lock}
        if disk is not None:
            found["full"] = lambda: self._fill(disk)
        return found | {name: lambda name=name: self._damage(name) for name in DAMAGES}

    def _kill(self) -> None:
        self._draw.choice(self._workers).send(signal.SIGKILL)

    def _stop(self) -> None:
        worker = self._draw.choice(self._workers)
        worker.send(signal.SIGSTOP)
        time.sleep(0.5)
        worker.send(signal.SIGCONT)

    def _lock(self) -> None:
        with open(self._run / JOURNAL, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            time.sleep(0.5)

    def _damage(self, name: str) -> None:
        """Damage any existing checkpoint; if a generation needs it, it is made again."""
        found = sorted((self._run / "params").glob("*.safetensors"))
        try:
            if found:
                DAMAGES[name](self._draw.choice(found))
        except OSError:
            return  # the run deleted it meanwhile

    def _fill(self, disk: Path) -> None:
        ballast = fill(disk)
        time.sleep(0.5)
        ballast.unlink()


def soak(lab: Lab, key: str) -> Trial:
    draw = random.Random(f"{lab.seed} {key}")
    total = 20_000
    with lab.cluster("soak") as cluster, contextlib.ExitStack() as stack:
        disk: Path | None = None
        with contextlib.suppress(NotHere):
            disk = stack.enter_context(small_disk(cluster.directory, DISK_MEGABYTES))
            cluster.runs = disk / "runs"
        config = write_config(cluster.directory, "run", **SIZE)
        cluster.begin(config, workers=WORKERS)
        run = cluster.runs / "run"
        until(run.exists, "the run")
        found = Soak(cluster, run, draw)
        kinds = found.kinds(disk)
        next_fault = time.monotonic()

        def is_over() -> bool:
            nonlocal next_fault
            found.keep_workers()
            if found.watch.has_ended():
                return True
            if time.monotonic() > next_fault and found.watch.follower.outcomes < total:
                found.commit_one(kinds)
                next_fault = time.monotonic() + draw.uniform(*EVERY_S)
            time.sleep(0.2)
            return False

        until(is_over, "the end of the run", within_s=1800)
        trial = lab.compared(run, found.at, len(found.at), **SIZE)
        points, quiet = found.watch.points, lab.points(**SIZE)
        note = f"{growth.text_of(points)}; undisturbed: {growth.text_of(quiet)}"
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(found.faults.items()))
        survived = trial.survived and growth.files_are_flat(points)
        return replace(trial, survived=survived, note=f"{note}; {counts}; seed {lab.seed}")


ROWS = (
    Row("soak", "20,000 member-epochs of a millisecond, with a fault every 3 s",
        lambda lab: ["run"], soak),
)  # fmt: skip
