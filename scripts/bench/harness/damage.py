"""Checkpoints that are deleted or altered, of a running, a stopped and a finished run."""

import hashlib
import json
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from harness.processes import PACES, until, write_config
from harness.stories import Follower
from harness.trials import Lab, Row, Trial, each_pace


def alter(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], None]] = {"deleted": Path.unlink, "altered": alter}
EVERY = 3


def stopped_keys(lab: Lab, pace: str) -> Sequence[str]:
    """Return the keys of runs stopped at every third record, which covers all generations."""
    records = range(3, len(lab.records(**PACES[pace])) - 1, EVERY)
    return [f"{damage}/{number}" for damage in DAMAGES for number in records]


def stopped(lab: Lab, key: str) -> Trial:
    """Kill the scheduler; then, for each checkpoint, resume a copy of the run in which it is damaged."""
    pace, damage, number = key.split("/")
    fault = json.dumps({"at": "record", "number": int(number), "stage": "flushed"})
    with lab.cluster("stopped") as cluster:
        config = write_config(cluster.directory, "run", **PACES[pace])
        scheduler = cluster.start_scheduler(FAULT=fault)
        worker = cluster.start_worker()
        launch = cluster.command("launch", str(config), "--detach")
        until(lambda: not scheduler.is_alive, "the scheduler's end")
        launch.end()
        worker.end()
        copies = []
        for at, path in enumerate(sorted((cluster.runs / "run" / "params").glob("*.safetensors"))):
            copy = cluster.runs / f"run-{at}"
            shutil.copytree(cluster.runs / "run", copy)
            DAMAGES[damage](copy / "params" / path.name)
            copies.append(copy)
        shutil.rmtree(cluster.runs / "run")
        began = time.time()
        cluster.start_scheduler()
        cluster.start_worker()
        trials = []
        for copy in copies:
            until(Follower(copy).has_ended, f"the end of {copy.name}")
            trials.append(lab.compared(copy, [began], **PACES[pace]))
        return summed(trials)


def summed(trials: Sequence[Trial]) -> Trial:
    """Combine the trials of several copies of a run."""
    return Trial(
        len(trials),
        all(trial.survived for trial in trials),
        all(trial.identical for trial in trials) if trials else None,
        tuple(seconds for trial in trials for seconds in trial.recovery_s),
    )


def running_keys(lab: Lab, pace: str) -> Sequence[str]:
    count = sum(record["kind"] == "outcome" for record in lab.records(**PACES[pace]))
    return [f"{damage}/{number}" for damage in DAMAGES for number in range(1, count)]


def running(lab: Lab, key: str) -> Trial:
    """Damage a checkpoint as soon as it is journaled, and kill the worker that has it in memory."""
    pace, damage, number = key.split("/")
    with lab.cluster("running") as cluster:
        slow = {"workload__options": {"pause_s": 0.3}}
        cluster.begin(write_config(cluster.directory, "run", **PACES[pace], **slow))
        run = cluster.runs / "run"
        follower = Follower(run)
        outcomes: list[str] = []

        def has_come() -> bool:
            outcomes.extend(
                record["outcome"]["checkpoint"]["name"]
                for record in follower.read()
                if record["kind"] == "outcome"
            )
            return len(outcomes) >= int(number)

        until(has_come, f"outcome {number}")
        try:
            DAMAGES[damage](run / "params" / outcomes[int(number) - 1])
        except FileNotFoundError:  # it was not needed any more
            return Trial(0, note="the run had deleted it already")
        cluster.workers[0].send(signal.SIGKILL)
        at = time.time()
        cluster.start_worker()
        until(follower.has_ended, "the end of the run")
        return lab.compared(run, [at], **PACES[pace])


def repair_keys(lab: Lab, pace: str) -> Sequence[str]:
    return list(DAMAGES)


def repaired(lab: Lab, key: str) -> Trial:
    """Damage each checkpoint of a finished run in turn: `verify` finds it, `--repair` restores its bytes."""
    pace, damage = key.split("/")
    with lab.cluster("repaired") as cluster:
        cluster.begin(write_config(cluster.directory, "run", **PACES[pace]))
        run = cluster.runs / "run"
        until(Follower(run).has_ended, "the end of the run")
        until((run / "report" / "index.html").exists, "the report")
        before, took = sums(run), []
        for path in sorted((run / "params").iterdir()):
            DAMAGES[damage](path)
            for product in run.glob("*.safetensors"):
                product.unlink()  # nothing can be copied from it
            seen = cluster.start("evodevo", "verify", "run", "--runs-dir", str(cluster.runs), log="verify")
            assert seen.wait() == 1, cluster.said("verify")
            began = time.time()
            mended = cluster.command("verify", "run", "--repair", "--runs-dir", str(cluster.runs))
            assert mended.wait() == 0, cluster.said("verify")
            took.append(round(time.time() - began, 3))
            assert sums(run) == before, f"{path.name} has other bytes"
        trial = lab.compared(run, **PACES[pace])
        return replace(trial, injected=len(before), recovery_s=tuple(took))


def sums(run: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (run / "params").iterdir()}


ROWS = (
    Row("damage-running", "each checkpoint deleted or altered during the run",
        each_pace(running_keys), running, quick=2),
    Row("damage-stopped", "each checkpoint deleted or altered while the run is stopped",
        each_pace(stopped_keys), stopped, quick=1),
    Row("damage-repair", "each checkpoint of a finished run deleted or altered: `verify --repair`",
        each_pace(repair_keys), repaired, quick=1),
)  # fmt: skip
