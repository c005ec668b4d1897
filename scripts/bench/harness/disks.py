"""Disks that are full or read-only, and a journal that another process has locked."""

import fcntl
import json
import subprocess
import time
from collections.abc import Sequence

from harness.inject import fill
from harness.processes import PACES, small_disk, until, write_config
from harness.stories import JOURNAL, Follower
from harness.trials import Lab, Row, Trial, each_pace

HELD_S = 2.0
LONGER = {"search__population": 4, "search__generations": 6}


def record_keys(lab: Lab, pace: str) -> Sequence[str]:
    return [str(number) for number in range(len(lab.records(**PACES[pace])))]


def full_at_record(lab: Lab, key: str) -> Trial:
    """Fill the journal's disk when a record is written, and for half a second longer.

    At the first record the run does not exist yet: `launch` fails with one message, and is repeated.
    """
    pace, number = key.split("/")
    with lab.cluster("full") as cluster, small_disk(cluster.directory) as disk:
        cluster.runs = disk / "runs"
        mark = cluster.directory / "failed"
        fault = {"at": "record", "number": int(number), "stage": "full", "disk": str(disk), "mark": str(mark)}
        store = {"checkpoints__url": str(cluster.directory / "checkpoints")}
        config = write_config(cluster.directory, "run", **PACES[pace], **store)
        cluster.start_scheduler(FAULT=json.dumps(fault))
        cluster.start_worker()
        run = cluster.runs / "run"
        launch = cluster.command("launch", str(config), "--detach")
        until(mark.exists, "a write that failed")
        if number == "0":
            assert launch.wait() == 2, cluster.said("launch")
            said = cluster.said("launch")
            assert "No space left on device" in said and "Traceback" not in said, said
            assert not run.exists()
        time.sleep(0.5)
        (disk / "ballast").unlink()
        at = time.time()
        if number == "0":
            cluster.launch(config)
        until(Follower(run).has_ended, "the end of the run")
        return lab.compared(run, [at], **PACES[pace])


def checkpoint_keys(lab: Lab, pace: str) -> Sequence[str]:
    records = lab.records(**PACES[pace])
    return [str(number) for number in range(sum(record["kind"] == "outcome" for record in records))]


def full_at_checkpoint(lab: Lab, key: str) -> Trial:
    pace, number = key.split("/")
    with lab.cluster("full") as cluster, small_disk(cluster.directory) as disk:
        mark = cluster.directory / "failed"
        fault = {"at": "checkpoint", "number": int(number), "stage": "full"}
        fault |= {"disk": str(disk), "mark": str(mark)}
        store = {"checkpoints__url": str(disk / "checkpoints"), "limits__max_attempts": 1}
        config = write_config(cluster.directory, "run", **PACES[pace], **store)
        cluster.start_scheduler()
        cluster.start_worker(FAULT=json.dumps(fault))
        cluster.launch(config)
        until(mark.exists, "a write that failed")
        time.sleep(0.5)
        (disk / "ballast").unlink()
        at = time.time()
        run = cluster.runs / "run"
        until(Follower(run).has_ended, "the end of the run")
        return lab.compared(run, [at], **PACES[pace])


def long_full(lab: Lab, key: str) -> Trial:
    """Fill the disk of journal and checkpoints for ten seconds: the run waits, says why, and continues."""
    with lab.cluster("long-full") as cluster, small_disk(cluster.directory) as disk:
        cluster.runs = disk / "runs"
        slow = {"workload__options": {"pause_s": 0.1}, "limits__max_attempts": 1}
        cluster.begin(write_config(cluster.directory, "run", **LONGER, **slow))
        run = cluster.runs / "run"
        follower = Follower(run)
        until(lambda: follower.has(5), "some outcomes")
        ballast = fill(disk)
        time.sleep(10)
        status = cluster.command("status", "run")
        assert status.wait() == 0, cluster.said("status")
        assert "No space left on device" in cluster.said("status"), cluster.said("status")
        ballast.unlink()
        at = time.time()
        until(follower.has_ended, "the end of the run")
        return lab.compared(run, [at], **LONGER)


def read_only(lab: Lab, key: str) -> Trial:
    """Make the checkpoints' file system read-only for a second, after some outcomes."""
    with lab.cluster("read-only") as cluster, small_disk(cluster.directory) as disk:
        store = {"checkpoints__url": str(disk / "checkpoints"), "limits__max_attempts": 1}
        slow = {"workload__options": {"pause_s": 0.1}}
        cluster.begin(write_config(cluster.directory, "run", **LONGER, **store, **slow))
        run = cluster.runs / "run"
        follower = Follower(run)
        until(lambda: follower.has(int(key)), f"{key} outcomes")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        time.sleep(1)
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        at = time.time()
        until(follower.has_ended, "the end of the run")
        return lab.compared(run, [at], **LONGER)


def locked(lab: Lab, key: str) -> Trial:
    """Lock the journal by another process for two seconds, after some outcomes."""
    with lab.cluster("locked") as cluster:
        slow = {"workload__options": {"pause_s": 0.1}}
        cluster.begin(write_config(cluster.directory, "run", **LONGER, **slow))
        run = cluster.runs / "run"
        follower = Follower(run)
        until(lambda: follower.has(int(key)), f"{key} outcomes")
        with open(run / JOURNAL, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            time.sleep(HELD_S)
        at = time.time()
        until(follower.has_ended, "the end of the run")
        return lab.compared(run, [at], **LONGER)


ROWS = (
    Row("full-journal", "the journal's disk full, at every record",
        each_pace(record_keys), full_at_record, quick=3),
    Row("full-store", "the checkpoints' disk full, at every checkpoint",
        each_pace(checkpoint_keys), full_at_checkpoint, quick=2),
    Row("full-long", "the disk full for ten seconds", lambda lab: ["run"], long_full),
    Row("read-only", "the checkpoints' file system read-only for a second",
        lambda lab: ["1", "9", "17"], read_only, quick=1),
    Row("locked", "the journal locked by another program for two seconds",
        lambda lab: ["1", "9", "17"], locked, quick=1),
)  # fmt: skip
