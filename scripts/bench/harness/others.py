"""Interference by others: a removed directory, a second controller, and foreign journals."""

import contextlib
import shutil
import signal
import time
from pathlib import Path
from typing import Any

from evodevo.run.journal import encode
from harness.processes import until, write_config
from harness.stories import JOURNAL, Follower, records_of
from harness.trials import Lab, Row, Trial

LONGER = {"search__population": 4, "search__generations": 6}
SLOW = {"workload__options": {"pause_s": 0.1}}
REMOVED = "was removed while the run was at work"


def removed(lab: Lab, key: str) -> Trial:
    """Remove the run's directory: the run stops with a message, and the same config can be launched again."""
    with lab.cluster("removed") as cluster:
        config = write_config(cluster.directory, "run", **LONGER, **SLOW)
        cluster.begin(config)
        run = cluster.runs / "run"
        follower = Follower(run)
        until(lambda: follower.has(int(key)), f"{key} outcomes")
        while run.exists():
            with contextlib.suppress(OSError):  # something was written meanwhile
                shutil.rmtree(run)
        at = time.time()
        until(lambda: REMOVED in cluster.said("scheduler"), "the message")
        noticed = time.time() - at
        cluster.launch(config)
        until(Follower(run).has_ended, "the end of the new run")
        trial = lab.compared(run, **LONGER)
        return Trial(1, trial.survived, trial.identical, (round(noticed, 3),))


def second(lab: Lab, key: str) -> Trial:
    """Resume a live run with a second command or scheduler, which is told what process has it."""
    with lab.cluster("second") as cluster:
        cluster.begin(write_config(cluster.directory, "run", **LONGER, **SLOW))
        run = cluster.runs / "run"
        follower = Follower(run)
        until(lambda: follower.has(5), "some outcomes")
        if key == "resume":
            given = ("resume", "run", "--runs-dir", str(cluster.runs), "--workers", "1")
            other = cluster.start("evodevo", *given, log="resume")
            assert other.wait() == 2, cluster.said("resume")
            said = cluster.said("resume")
            assert "carried out by process" in " ".join(said.split()), said
            assert "Traceback" not in said, said
        else:
            with lab.cluster("other", runs=cluster.runs) as other_cluster:
                other_cluster.start_scheduler()
                told = "is being carried out by"
                until(lambda: told in other_cluster.said("scheduler"), "the other scheduler to be refused")
        until(follower.has_ended, "the end of the run")
        controllers = sum(record["kind"] == "controller" for record in records_of(run))
        assert controllers == 1, f"{controllers} controllers wrote to the journal"
        return lab.compared(run, **LONGER)


def foreign(lab: Lab, key: str) -> Trial:
    """Restart a scheduler among foreign journals: it resumes its run and lists the others."""
    with lab.cluster("foreign") as cluster:
        cluster.begin(write_config(cluster.directory, "run", **LONGER, **SLOW))
        run = cluster.runs / "run"
        follower = Follower(run)
        until(lambda: follower.has(5), "some outcomes")
        cluster.scheduler.send(signal.SIGKILL)
        at = time.time()
        cluster.workers[0].end()
        strange = strange_journals(records_of(run))
        for name, data in strange.items():
            (cluster.runs / name).mkdir()
            (cluster.runs / name / JOURNAL).write_bytes(data)
        cluster.start_scheduler()
        cluster.start_worker()
        until(follower.has_ended, "the end of the run")
        for where in (("--scheduler", cluster.address), ("--runs-dir", str(cluster.runs))):
            listed = cluster.start("evodevo", "status", *where, log="status")
            assert listed.wait(60) in (0, 1, 2), cluster.said("status")
            assert "Traceback" not in cluster.said("status"), cluster.said("status")
        assert "Traceback" not in cluster.said("scheduler"), cluster.said("scheduler")
        assert not (Path.cwd() / "evil").exists()
        return lab.compared(run, [at], len(strange), **LONGER)


def strange_journals(records: list[dict[str, Any]]) -> dict[str, bytes]:
    """Return, by name, journals with correct checksums that evodevo did not write, and two other files."""
    begun, births = records[0], next(record for record in records if record["kind"] == "births")
    ancestor = {**births["births"][0]}
    ancestor["parents"] = dict.fromkeys(("a", "b", "params"), ancestor["member"])
    config = begun["config"]
    evil = {**config, "search": {**config["search"], "strategy": "evil:X"}}
    told: dict[str, list[dict[str, Any]]] = {
        "unknown": [begun, {"kind": "revolution"}],
        "ancestor": [begun, records[1], {"kind": "births", "births": [ancestor]}],
        "evil": [{**begun, "config": evil}],
        "without": [{key: value for key, value in begun.items() if key != "config"}],
        "twice": [begun, begun],
        "kindless": [begun, {"what": 1}],
    }
    found = {name: _encoded(records) for name, records in told.items()}
    return {**found, "empty": b"", "noise": bytes(range(256)) * 40}


def _encoded(records: list[dict[str, Any]]) -> bytes:
    written = []
    for number, record in enumerate(records):
        rest = {key: value for key, value in record.items() if key not in ("n", "crc")}
        written.append(encode({"n": number, "time": 1.0, **rest}))
    return b"".join(written)


ROWS = (
    Row("removed", "a run's directory removed under its scheduler (a message, and the name is free)",
        lambda lab: ["1", "9", "17"], removed, quick=1),
    Row("second", "a second controller for a run (refused with a message)",
        lambda lab: ["resume", "scheduler"], second),
    Row("foreign", "a foreign or damaged journal in the runs directory",
        lambda lab: ["run"], foreign, quick=1),
)  # fmt: skip
