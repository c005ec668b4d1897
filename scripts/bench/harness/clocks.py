"""Clocks that are set by hours and days during a run, forwards and backwards."""

import random
import shutil
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from harness.processes import until, write_config
from harness.stories import Follower
from harness.trials import Lab, NotHere, Row, Trial

HOUR, DAY = 3600, 86400
JUMPS_S = (HOUR, -HOUR, 40 * DAY, -80 * DAY, 3, -3)
"""Seconds to add to the clock, one after the other; their sum is negative."""
LONGER = {"search__population": 4, "search__generations": 40}


def library(directory: Path) -> Path:
    """Compile the library for LD_PRELOAD that shifts the clock. Raises `NotHere` without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NotHere("there is no C compiler")
    made = directory / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(source)], check=True)
    return made


class Clock:
    """An offset that is added to the time of some processes."""

    def __init__(self, path: Path, preload: Path) -> None:
        self._path = path
        self._offset_s = 0
        path.write_bytes(struct.pack("=q", 0))
        self.environment = {"LD_PRELOAD": str(preload), "CLOCK_OFFSET": str(path)}

    def jump(self, seconds: int) -> None:
        self._offset_s += seconds
        with open(self._path, "r+b") as file:
            file.write(struct.pack("=q", self._offset_s))


def jumping(lab: Lab, key: str) -> Trial:
    """Set the scheduler's clock, the worker's, or both at the same time."""
    draw = random.Random(f"{lab.seed} {key}")
    with lab.cluster("clock") as cluster:
        preload = library(cluster.directory)
        clocks = {
            name: Clock(cluster.directory / f"{name}.clock", preload) for name in ("scheduler", "worker")
        }
        dask = (sys.executable, "-m", "dask")
        cluster.start_afresh(
            *dask,
            "scheduler",
            *cluster.scheduler_arguments(),
            log="scheduler",
            **clocks["scheduler"].environment,
        )
        cluster.start_afresh(
            *dask,
            "worker",
            *cluster.worker_arguments(),
            "--no-nanny",
            log="worker",
            **clocks["worker"].environment,
        )
        until(lambda: "Scheduler at" in cluster.said("scheduler"), "the scheduler")
        slow = {"workload__options": {"pause_s": 0.1}}
        cluster.launch(write_config(cluster.directory, "run", **LONGER, **slow))
        run = cluster.runs / "run"
        follower = Follower(run)
        took = []
        for seconds in JUMPS_S:
            until(lambda: follower.has(follower.outcomes + 1) or follower.ended, "an outcome")
            time.sleep(draw.uniform(0, 0.5))
            assert not follower.has_ended(), "the run was over too soon"
            for name, clock in clocks.items():
                if key in (name, "both"):
                    clock.jump(seconds)
            began, before = time.monotonic(), follower.outcomes
            until(lambda before=before: follower.has(before + 1), "an outcome after a jump")
            took.append(round(time.monotonic() - began, 3))
        until(follower.has_ended, "the end of the run")
        trial = lab.compared(run, injected=len(JUMPS_S), **LONGER)
        return replace(trial, recovery_s=tuple(took))


ROWS = (
    Row("clock", "the clock of scheduler, worker or both set by hours and days, both ways",
        lambda lab: ["scheduler", "worker", "both"], jumping, quick=1),
)  # fmt: skip
