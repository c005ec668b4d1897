"""Caches of a worker process: prepared workloads and recently used checkpoints."""

import functools
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping

from evodevo import fresh
from evodevo.errors import Unfit
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.records import CheckpointRef, Job
from workers import digests
from workers.build import Trainable, build
from workers.ensemble import EnsembleWorkload
from workers.preload import current_device
from workers.publisher import Publisher
from workers.seeding import derived, seed_all

CHECKPOINTS_BUDGET_BYTES = 2 << 30
MAX_WORKLOADS = 2
MAX_EDITIONS = 256

_editions: dict[str, int] = {}
"""For each edition of a run seen here, how often modules had been reloaded by then."""
_rewritten = 0

_workloads: OrderedDict[str, tuple[Trainable, Mapping[str, str] | None]] = OrderedDict()
_checkpoints: OrderedDict[tuple[str, str], bytes] = OrderedDict()
_checkpoints_bytes = 0
_lock = threading.Lock()


def _key(job: Job) -> str:
    """Return the cache key of a workload; its modules are checked for changes once per edition of a run."""
    global _rewritten
    if job.edition not in _editions:
        _rewritten += fresh.refresh(job.workload)
        _editions[job.edition] = _rewritten
        if len(_editions) > MAX_EDITIONS:
            del _editions[next(iter(_editions))]
    return json.dumps([dict(job.workload), job.data_root, job.seed, _editions[job.edition]], sort_keys=True)


@functools.lru_cache(maxsize=32)
def _store_at(url: str) -> CheckpointStore:
    return CheckpointStore(url)


def store_of(job: Job) -> CheckpointStore:
    """Return the job's checkpoint store."""
    return _store_at(job.checkpoints_url)


@functools.cache
def publisher() -> Publisher:
    """Return the process's publisher, started on first use."""
    return Publisher()


def workload_for(job: Job) -> tuple[Trainable, bool]:
    """Return the job's workload with its data loaded, and whether it was loaded just now.

    If the members are ensembles, return an `EnsembleWorkload`. The last `MAX_WORKLOADS` are kept.
    Raises `UsageError`, and `Unfit` if the data differ from those that the run began with.
    """
    with _lock:
        key = _key(job)
        workload, own = _workloads.pop(key, (None, None))
        if workload is not None and job.data:
            own = own or digests.of(workload, job.seed)
        is_new = workload is None or (bool(job.data) and own != job.data)
        if workload is None or is_new:
            workload = loaded(job)
            own = digests.of(workload, job.seed) if job.data else None
            if own is not None and (differing := digests.difference(job.data, own)):
                raise Unfit(
                    f"its {differing} split differs from the one that the run began with: this worker has "
                    "different data, or data() returns something else"
                )
        _workloads[key] = workload, own
        if len(_workloads) > MAX_WORKLOADS:
            _workloads.popitem(last=False)
        return (workload if job.ploidy == 1 else EnsembleWorkload(workload, job.ploidy)), is_new


def loaded(job: Job) -> Trainable:
    """Return a new workload of the job with its data loaded, both seeded from the run's seed."""
    device = current_device()
    seed_all(derived(job.seed, "workload"), device)
    workload = build(job.workload)
    fresh.remember(job.workload)
    seed_all(derived(job.seed, "data"), device)
    workload.prepare(device, job.data_root)
    return workload


def read_checkpoint(store: CheckpointStore, ref: CheckpointRef) -> bytes:
    """Return a checkpoint from this process's memory, or else verified from the store."""
    with _lock:
        if (store.url, ref.name) in _checkpoints:
            _checkpoints.move_to_end((store.url, ref.name))
            return _checkpoints[store.url, ref.name]
    data = store.read(ref)
    remember_checkpoint(store, ref, data)
    return data


def remember_checkpoint(store: CheckpointStore, ref: CheckpointRef, data: bytes) -> None:
    """Keep a checkpoint in memory; evict the least recently used beyond `CHECKPOINTS_BUDGET_BYTES`."""
    global _checkpoints_bytes
    with _lock:
        _checkpoints_bytes += len(data) - len(_checkpoints.pop((store.url, ref.name), b""))
        _checkpoints[store.url, ref.name] = data
        while _checkpoints_bytes > CHECKPOINTS_BUDGET_BYTES and len(_checkpoints) > 1:
            _checkpoints_bytes -= len(_checkpoints.popitem(last=False)[1])
