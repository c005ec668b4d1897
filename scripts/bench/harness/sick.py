"""Workers that are broken, killed repeatedly, or stopped."""

import contextlib
import signal
import time
from collections.abc import Iterator

from evodevo.config_limits import Limits
from harness.processes import Cluster, Process, until, write_config
from harness.stories import Follower, records_of
from harness.trials import Lab, Row, Trial

WAYS = ("oserror", "error", "module", "data")
TTL = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "10s"}
LONGER = {"search__population": 4, "search__generations": 6}


def broken(lab: Lab, way: str) -> Trial:
    """Run with three workers, one of which fails every task at once from the beginning."""
    with lab.cluster("broken") as cluster:
        slow = {"workload__options": {"pause_s": 0.2}}
        config = write_config(cluster.directory, "run", **LONGER, **slow)
        cluster.start_scheduler()
        cluster.start_worker(FAULTS_BROKEN=way)
        cluster.start_worker()
        cluster.start_worker()
        until(lambda: cluster.said("scheduler").count("Register worker") >= 3, "three workers")
        cluster.launch(config)
        run = cluster.runs / "run"
        until(Follower(run).has_ended, "the end of the run")
        records = records_of(run)
        lost = [record["time"] for record in records if record["kind"] == "lost"]
        assert lost, "the broken worker was given nothing"
        return lab.compared(run, lost, note=f"{len(lost)} attempts on the broken worker", **LONGER)


def killed_ten_times(lab: Lab, key: str) -> Trial:
    """Let the first ten attempts at one member kill their process; a nanny restarts it."""
    times = 3 if lab.quick else 10
    with lab.cluster("ten") as cluster:
        kills = cluster.directory / "kills"
        kills.mkdir()
        for number in range(times):
            (kills / f"kill{number}").touch()
        options = {"workload__options": {"kill_first": str(kills)}, "limits__max_attempts": 1}
        config = write_config(cluster.directory, "run", **options)
        cluster.start_scheduler()
        cluster.start_nanny()
        cluster.start_nanny()
        cluster.launch(config)
        run = cluster.runs / "run"
        until(lambda: not list(kills.glob("kill*")), "the last kill", within_s=600)
        at = time.time()
        until(Follower(run).has_ended, "the end of the run")
        return lab.compared(run, [at], times)


def stopped_keys(lab: Lab) -> list[str]:
    """Return the trials: a short `worker-ttl` of Dask, and the default one if this version has stragglers."""
    return ["ttl", *(["straggler"] if "straggler_factor" in Limits.model_fields else [])]


def stopped(lab: Lab, key: str) -> Trial:
    """Stop one of two workers in the middle of an epoch, and continue it after the run has ended."""
    settings = TTL if key == "ttl" else {}
    limits = {"limits__straggler_factor": 5} if key == "straggler" else {}
    with lab.cluster("stopped", **settings) as cluster:
        slow = {"workload__options": {"pause_s": 0.3}}
        cluster.begin(write_config(cluster.directory, "run", **LONGER, **slow, **limits), workers=2)
        run = cluster.runs / "run"
        follower = Follower(run)
        until(lambda: follower.has(7), "an outcome in the second generation")
        with at_work(cluster) as worker:
            worker.send(signal.SIGSTOP)
            at = time.time()
            until(follower.has_ended, "the end of the run")
            worker.send(signal.SIGCONT)
        return lab.compared(run, [at], **LONGER)


@contextlib.contextmanager
def at_work(cluster: Cluster) -> Iterator[Process]:
    """Yield a worker of the cluster, and continue it afterwards in any case."""
    worker = cluster.workers[-1]
    try:
        yield worker
    finally:
        worker.send(signal.SIGCONT)


def stopped_scheduler(lab: Lab, key: str) -> Trial:
    """Stop the scheduler for some seconds, like a suspended machine, while workers continue to train."""
    with lab.cluster("stopped") as cluster:
        slow = {"workload__options": {"pause_s": 0.3}}
        cluster.begin(write_config(cluster.directory, "run", **LONGER, **slow), workers=2)
        run = cluster.runs / "run"
        follower = Follower(run)
        until(lambda: follower.has(7), "an outcome in the second generation")
        cluster.scheduler.send(signal.SIGSTOP)
        time.sleep(float(key))
        cluster.scheduler.send(signal.SIGCONT)
        at = time.time()
        until(follower.has_ended, "the end of the run")
        return lab.compared(run, [at], **LONGER)


ROWS = (
    Row("ten-kills", "one member's worker killed ten times in a row",
        lambda lab: ["run"], killed_ten_times),
    Row("broken-worker", "one of three workers broken, in four ways",
        lambda lab: WAYS, broken, quick=1),
    Row("stopped-worker", "one of two workers stopped (SIGSTOP)", stopped_keys, stopped),
    Row("stopped-scheduler", "the scheduler stopped (SIGSTOP) for 15 s",
        lambda lab: ["15"], stopped_scheduler),
)  # fmt: skip
