"""Run workers as Slurm jobs: a scheduler in this process, and as many jobs as its runs can use.

A job is one worker, or `cluster.workers_per_device` workers that share its GPU.

dask-jobqueue writes and submits the job scripts. This module decides which jobs to keep, from Slurm's own
queue: Dask does not replace jobs that die before their worker registers, gives a restarting worker no time,
and may stop a worker in mid-epoch when it scales down.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Security

from evodevo.config import RunConfig
from evodevo.errors import UsageError
from evodevo.run.records import PER_DEVICE
from evodevo.service.cluster import stop_runs
from evodevo.service.plugin import Service

logger = logging.getLogger("evodevo.slurm")

LOGS = "slurm"
"""Subdirectory of the runs directory for the output of jobs."""
HOPELESS = 3
"""Failures are reported after this many consecutive jobs that ended before their workers registered."""
PERIOD_S = 5.0
LONGEST_PAUSE_S = 300.0
"""Longest pause between submissions while jobs keep ending before their workers register."""
PING_TIMEOUT_S = 30.0
ENDS_AT = (
    'ends=$(squeue -h -j "$SLURM_JOB_ID" -o %e) && ends=$(date -d "${ends:-none}" +%s 2>/dev/null) '
    '&& export EVODEVO_ENDS_AT="$ends"'
)
"""Line of a job's script that tells its workers when the job ends, if it has an end."""


@contextlib.contextmanager
def slurm(config: RunConfig, runs_dir: Path | str) -> Iterator[Client]:
    """Start a scheduler with the service in this process; workers are jobs as in `config.cluster.slurm`.

    Raises `UsageError` if Slurm is not available or refuses the jobs.
    """
    most, needed = config.cluster.slurm.max_workers, config.cluster.workers_per_member
    if most < needed:
        raise UsageError(
            f"cluster.slurm.max_workers: is {most}, but each member needs {needed} "
            f"(cluster.workers_per_member); set it to {needed}, or a multiple to train members in parallel"
        )
    cluster_class = _cluster_class()
    _refuse_no_slurm()
    runs_dir = Path(runs_dir).absolute()
    try:
        (runs_dir / LOGS).mkdir(parents=True, exist_ok=True)
    except OSError as why:
        raise UsageError(f"cannot create the directory for the output of jobs: {why}") from None
    settings = {"distributed.deploy.lost-worker-timeout": "1 day"}  # `_Keeper` replaces jobs
    with dask.config.set(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Port .* is already in use")
        try:
            cluster = cluster_class(n_workers=0, **_arguments(config, runs_dir))
        except (OSError, RuntimeError, ValueError) as why:
            reason = why.__cause__ or why
            raise UsageError(f"cluster.slurm: cannot start a scheduler for these jobs: {reason}") from None
        with cluster, Client(cluster, set_as_default=False) as client:
            _refuse_bad_jobs(cluster.job_script())
            keeper = client.sync(_start, cluster, config)
            try:
                yield client
            finally:
                client.sync(_stop, keeper)
                client.sync(stop_runs, cluster.scheduler)


def _cluster_class() -> Any:
    """Return dask-jobqueue's `SLURMCluster`, restoring the Ctrl-C handler that its import replaces."""
    before = signal.getsignal(signal.SIGINT)
    try:
        from dask_jobqueue.slurm import SLURMCluster
    except ImportError:
        said = "needs dask-jobqueue: pip install -c constraints.txt -e '.[slurm]'"
        raise UsageError(f"evodevo.slurm {said}", f"--slurm {said}") from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)
    return SLURMCluster


def _arguments(config: RunConfig, runs_dir: Path) -> dict[str, Any]:
    """Return the arguments of dask-jobqueue's `SLURMCluster`."""
    wanted, workers = config.cluster.slurm, _workers_per_job(config)
    security = Security()  # from Dask's configuration
    directives = ["--no-requeue", *(["--gres=gpu:1"] if wanted.gpus else []), *wanted.directives]
    return {
        "cores": workers,  # one for each Dask worker: one unit at a time
        "processes": workers,
        "memory": wanted.memory,
        "queue": wanted.partition,
        "account": wanted.account,
        "walltime": wanted.walltime,
        "job_cpu": wanted.cpus,
        "interface": wanted.interface,
        "job_name": f"evodevo-{config.run.name}",
        "log_directory": str(runs_dir / LOGS),
        "python": sys.executable,
        "job_extra_directives": directives,
        "job_script_prologue": [
            "export DASK_DISTRIBUTED__WORKER__DAEMON=False",
            f"export {PER_DEVICE}={workers}",
            ENDS_AT,
            *wanted.prologue,
        ],
        "worker_extra_args": [
            "--memory-limit", "0", "--preload", "workers.preload", "--preload-nanny", "workers.nanny",
        ],
        "scheduler_options": {
            "dashboard_address": "127.0.0.1:8787",
            "preload": ["evodevo.service"],
            "preload_argv": ["--runs-dir", str(runs_dir), "--no-recover"],
        },
        "silence_logs": logging.CRITICAL,
        **({"security": security, "protocol": "tls://"} if getattr(security, "tls_ca_file", None) else {}),
    }  # fmt: skip


def _workers_per_job(config: RunConfig) -> int:
    return config.cluster.workers_per_device if config.cluster.slurm.gpus else 1


def _refuse_no_slurm() -> None:
    """Raise `UsageError` if Slurm cannot be reached.

    sbatch would report it too, but after up to a minute, in many lines and without advice.
    """
    if problem := _why_no_slurm():
        usual = (
            "a login node of a Slurm cluster, where `scontrol ping` says UP (SLURM_CONF names the cluster's "
            "slurm.conf if it is not in its usual place)"
        )
        here = "the workers are processes of this machine"
        raise UsageError(
            f"cluster.slurm: {problem}; evodevo.slurm needs {usual}. With evodevo.local {here}",
            f"cluster.slurm: {problem}; --slurm needs {usual}. Without --slurm {here}",
        )


def _why_no_slurm() -> str | None:
    """Return what is missing, in a line; None if Slurm answers (one of two controllers is enough)."""
    for program in ("sbatch", "squeue", "scontrol"):
        if shutil.which(program) is None:
            return f"{program} is not installed here"
    conf = os.environ.get("SLURM_CONF")
    if conf and not Path(conf).exists():
        return f"SLURM_CONF names {conf}, which does not exist"
    try:
        told = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, timeout=PING_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"Slurm has not answered within {PING_TIMEOUT_S:g} s"
    if told.returncode == 0 or " is UP" in told.stdout:
        return None
    lines = told.stderr.strip().splitlines()[-1:] or told.stdout.strip().splitlines()[:1]
    return f"Slurm does not answer ({''.join(lines)})"


def _refuse_bad_jobs(script: str) -> None:
    tried = subprocess.run(["sbatch", "--test-only"], input=script, capture_output=True, text=True)
    if tried.returncode:
        raise UsageError(f"cluster.slurm: sbatch refuses these jobs: {tried.stderr.strip()}")


@dataclass(frozen=True)
class Change:
    """The jobs to drop (by the names of their workers), and the number of jobs wanted after that."""

    drop: frozenset[Any]
    target: int


def plan(
    jobs: Mapping[Any, str | None], queued: Collection[str], registered: set[Any], idle: set[Any], wanted: int
) -> Change:
    """Return the change that brings the jobs to the wanted number.

    `jobs` maps workers' names to Slurm's job ids, None before submission; `queued` are the ids that Slurm
    lists as pending or running, and all others are dropped. If there are more jobs than `wanted`, those whose
    workers have not registered are dropped first, then idle ones.
    """
    gone = {name for name, number in jobs.items() if number is not None and number not in queued}
    there = [name for name in jobs if name not in gone]
    idle_ones = [name for name in there if name in idle]
    spare = [name for name in there if name not in registered] + idle_ones
    surplus = spare[: max(0, len(there) - wanted)]
    return Change(frozenset(gone.union(surplus)), max(wanted, len(there) - len(surplus)))


def round_interval_s(failures: int) -> float:
    """Return the seconds until the next round after `failures` rounds whose jobs ended too early."""
    return min(PERIOD_S * 2.0 ** min(failures, 10), LONGEST_PAUSE_S)  # 2.0 ** 1024 overflows


class _Keeper:
    """A loop that adjusts a cluster's jobs to the needs of its runs."""

    def __init__(self, cluster: Any, config: RunConfig) -> None:
        self._cluster = cluster
        self._limits = config.cluster.slurm
        at_once = -(-config.search.population // config.cluster.at_once)
        self._workers_first = at_once * config.cluster.workers_per_member
        self._workers_per_job = _workers_per_job(config)
        self._first_run_came = False
        self._failures = 0
        self._seen: set[Any] = set()
        self._service: Service = cluster.scheduler.plugins[Service.name]

    async def keep_up(self) -> None:
        while True:
            try:
                await self._round()
            except (OSError, RuntimeError) as why:  # Slurm may be unavailable for a while
                logger.warning("Slurm: %s", why)
                self._service.notice = f"Slurm does not answer: {why}"
            await asyncio.sleep(round_interval_s(self._failures))

    async def _round(self) -> None:
        cluster, limits = self._cluster, self._limits
        states = self._workers_by_job()
        idle = self._service.idle_workers()
        jobs = {name: getattr(cluster.workers.get(name), "job_id", None) for name in cluster.worker_spec}
        wanted = -(-self._wanted() // self._workers_per_job)
        change = plan(
            jobs,
            await _queued(),
            registered=set(states),
            idle={name for name, addresses in states.items() if idle.issuperset(addresses)},
            wanted=min(limits.max_workers, max(limits.min_workers, wanted)),
        )
        self._note_failures(change, set(states))
        for name in change.drop & states.keys():
            for address in states[name]:
                self._service.dismiss(address)
        await cluster.scale_down(change.drop)  # wait until it is complete, because names are reused
        cluster.scale(jobs=change.target)

    def _workers_by_job(self) -> dict[Any, list[str]]:
        """Return the addresses of the registered workers, by the names of their jobs."""
        spec = self._cluster.worker_spec
        job_of = {f"{name}{suffix}": name for name in spec for suffix in spec[name].get("group", ())}
        found: dict[Any, list[str]] = {}
        for address, state in self._cluster.scheduler.workers.items():
            found.setdefault(job_of.get(str(state.name), state.name), []).append(address)
        return found

    def _wanted(self) -> int:
        """Return the number of workers that the runs can use; before the first run, what it will need."""
        self._first_run_came |= self._service.wanted_workers() > 0
        return self._service.wanted_workers() if self._first_run_came else self._workers_first

    def _note_failures(self, change: Change, registered: set[Any]) -> None:
        self._service.notice = None
        self._seen |= registered
        unborn = [name for name in change.drop if name not in self._seen]
        self._failures = 0 if registered else self._failures + bool(unborn)
        if self._failures < HOPELESS:
            self._service.no_workers = None
        else:
            logs = self._service.runs_dir / LOGS
            self._service.no_workers = (
                f"worker jobs end before their workers register; their output is in {logs}"
            )


async def _start(cluster: Any, config: RunConfig) -> asyncio.Task[None]:
    return asyncio.create_task(_Keeper(cluster, config).keep_up())


async def _stop(keeper: asyncio.Task[None]) -> None:
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)


async def _queued() -> set[str]:
    """Return the ids of this user's pending and running jobs."""
    process = await asyncio.create_subprocess_exec(
        "squeue", "-h", "--me", "-o", "%i %t",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    if process.returncode:
        raise RuntimeError(err.decode().strip())
    states = (line.split() for line in out.decode().splitlines())
    return {number for number, state in states if state != "CG"}
