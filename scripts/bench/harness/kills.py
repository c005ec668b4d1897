"""SIGKILL of the scheduler at every record, of a worker at every checkpoint, and of any process at random."""

import contextlib
import json
import random
import signal
import time
from collections.abc import Sequence

import psutil

from harness.inject import KILLS
from harness.processes import PACES, Cluster, until, write_config
from harness.stories import Follower
from harness.trials import Lab, Row, Trial, each_pace

LONG = {"search__population": 8, "search__generations": 150}
MANY = 50


def record_keys(lab: Lab, pace: str) -> Sequence[str]:
    return [f"{at}/{stage}" for at in range(len(lab.records(**PACES[pace]))) for stage in KILLS["record"]]


def at_record(lab: Lab, key: str) -> Trial:
    """Kill the scheduler, and with it its worker; then start new ones."""
    pace, number, stage = key.split("/")
    fault = json.dumps({"at": "record", "number": int(number), "stage": stage})
    with lab.cluster("record") as cluster:
        config = write_config(cluster.directory, "run", **PACES[pace])
        run = cluster.runs / "run"
        scheduler = cluster.start_scheduler(FAULT=fault)
        worker = cluster.start_worker()
        launch = cluster.command("launch", str(config), "--detach")
        until(lambda: not scheduler.is_alive, "the scheduler's end")
        at = time.time()
        launch.end()
        worker.end()
        if run.exists():
            cluster.start_scheduler()
            cluster.start_worker()
        else:  # it was killed before there was a run
            cluster.begin(config)
        until(Follower(run).has_ended, "the end of the run")
        return lab.compared(run, [at], **PACES[pace])


def checkpoint_keys(lab: Lab, pace: str) -> Sequence[str]:
    count = sum(record["kind"] == "outcome" for record in lab.records(**PACES[pace]))
    return [f"{at}/{stage}" for at in range(count) for stage in KILLS["checkpoint"]]


def at_checkpoint(lab: Lab, key: str) -> Trial:
    pace, number, stage = key.split("/")
    fault = json.dumps({"at": "checkpoint", "number": int(number), "stage": stage})
    with lab.cluster("checkpoint") as cluster:
        config = write_config(cluster.directory, "run", **PACES[pace])
        cluster.start_scheduler()
        worker = cluster.start_worker(FAULT=fault)
        cluster.launch(config)
        until(lambda: not worker.is_alive, "the worker's end")
        at = time.time()
        cluster.start_worker()
        run = cluster.runs / "run"
        until(Follower(run).has_ended, "the end of the run")
        return lab.compared(run, [at], **PACES[pace])


class Kept:
    """A cluster of two workers with nannies whose processes are restarted when they end."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.scheduler = cluster.start_scheduler()
        self.nannies = [cluster.start_nanny() for _ in range(2)]

    def restart(self) -> None:
        if not self.scheduler.is_alive:
            self.scheduler = self.cluster.start_scheduler()
        for at, nanny in enumerate(self.nannies):
            if not nanny.is_alive:
                self.nannies[at] = self.cluster.start_nanny()

    def worker_processes(self) -> list[int]:
        """Return the nannies' child processes, except multiprocessing's resource trackers."""
        found = []
        for nanny in self.nannies:
            with contextlib.suppress(psutil.Error):
                for child in psutil.Process(nanny.pid).children():
                    if not any("resource_tracker" in word for word in child.cmdline()):
                        found.append(child.pid)
        return found

    def kill(self, what: str, draw: random.Random) -> bool:
        """Kill a process of this kind; return False if none is running."""
        with contextlib.suppress(psutil.Error):
            if what == "worker":
                pids = self.worker_processes()
                if not pids:
                    return False
                psutil.Process(draw.choice(pids)).kill()
                return True
            process = self.scheduler if what == "scheduler" else draw.choice(self.nannies)
            if process.is_alive:
                process.send(signal.SIGKILL)
                return True
        return False


def at_random(lab: Lab, key: str) -> Trial:
    """Kill processes of one long run at random, with at least one outcome between two kills."""
    draw = random.Random(f"{lab.seed} {key}")
    wanted = 4 if lab.quick else MANY
    size = {**LONG, "search__generations": 40} if lab.quick else LONG
    with lab.cluster("random") as cluster:
        kept = Kept(cluster)
        config = write_config(cluster.directory, "run", **size, workload__options={"pause_s": 0.1})
        cluster.launch(config)
        run = cluster.runs / "run"
        follower = Follower(run)
        killed: list[str] = []
        at: list[float] = []
        while len(killed) < wanted and not follower.has_ended():
            before = follower.outcomes
            wait_until = time.monotonic() + draw.uniform(0.0, 1.5)

            def is_time(before: int = before, wait_until: float = wait_until) -> bool:
                kept.restart()
                return follower.has(before + 1) and time.monotonic() > wait_until

            until(is_time, "an outcome between two kills")
            what = draw.choice(["worker", "worker", "nanny", "scheduler"])
            if kept.kill(what, draw):
                at.append(time.time())
                killed.append(what)

        def is_over() -> bool:
            kept.restart()
            return follower.has_ended()

        until(is_over, "the end of the run", within_s=900)
        counts = ", ".join(f"{killed.count(what)} {what}" for what in sorted(set(killed)))
        return lab.compared(run, at, len(killed), f"seed {lab.seed}: {counts}", **size)


ROWS = (
    Row("random-kills", "SIGKILL of a worker, nanny or scheduler, at random, in one long run",
        lambda lab: ["run"], at_random, quick=1),
    Row("record-kills", "SIGKILL of the scheduler at every record and stage of its writing",
        each_pace(record_keys), at_record, quick=6),
    Row("checkpoint-kills", "SIGKILL of a worker at every checkpoint and stage of its writing",
        each_pace(checkpoint_keys), at_checkpoint, quick=4),
)  # fmt: skip
