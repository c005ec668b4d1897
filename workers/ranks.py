"""The Dask tasks of a gang, `lead` for its first worker and `follow` for the others.

Rendezvous: the first worker opens a TCPStore on a port chosen by the system and reports the address on its
stream to the scheduler; only then do the other workers get their tasks, with that address as an argument. So
no worker looks up an address that does not exist yet, no port is chosen before it is opened, and no shared
directory is needed (checkpoints may be in an object store, and a file store's locks are not reliable on NFS).

Before the first collective operation each worker reports in the store whether it can take part; a worker
whose data differ is refused, and no attempt is lost. After that the process group connects the ranks: one
that ends, normally or with an error, closes its connections, and the others' next sum fails.
"""

import contextlib
import os
import traceback
from collections.abc import Iterator
from datetime import timedelta

import psutil
import torch
import torch.distributed as dist
from distributed import get_worker
from distributed.comm.addressing import get_address_host
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from evodevo.errors import Unfit
from evodevo.run.records import Job, WorkUnit
from workers import gang
from workers.cache import workload_for
from workers.leg import ERROR_TAIL_CHARACTERS, follow_leg
from workers.preload import current_device
from workers.unit import Stream, carry_out

PATIENCE = timedelta(days=1)
"""Timeout of collective operations, which wait for slow ranks, such as the first, which alone evaluates.

The dispatcher, which sees all workers and enforces the time limit of an epoch, ends a gang that hangs.
"""
READY = "ready"


def lead(unit: str) -> None:
    """Carry out a unit, given as text, as the first worker of a gang, the only one to report."""
    work = WorkUnit.from_text(unit)
    stream = Stream()
    host = _own_host()
    store = TCPStore(host, 0, work.job.workers, is_master=True, timeout=PATIENCE, wait_for_workers=False)
    stream.report({"index": 0, "gang": [host, store.port]})
    try:
        with contextlib.suppress(BaseException):
            workload_for(work.job)  # while the others do so; an error is raised again later
        _wait_for_others(work.job, store)
        with _joined(work.job, 0, store):
            carry_out(work, stream.report)
    finally:
        stream.flush()


def follow(unit: str, rank: int, host: str, port: int) -> None:
    """Train a unit's members along with the first worker, whose store is at that address."""
    work = WorkUnit.from_text(unit)
    store = TCPStore(host, port, work.job.workers, is_master=False, timeout=PATIENCE)
    try:
        workload_for(work.job)
    except Unfit as why:
        _tell(store, f"{READY}/{rank}", str(why))
        raise
    except BaseException:
        pass  # it is raised again when the workload is used
    _tell(store, f"{READY}/{rank}", "")
    with _joined(work.job, rank, store):
        try:
            for assignment in work.assignments:
                follow_leg(work.job, assignment)
        except OSError:
            raise
        except BaseException:
            trace = traceback.format_exc()[-ERROR_TAIL_CHARACTERS:]
            told = f"on worker {rank + 1} of {work.job.workers}:\n{trace}"
            _tell(store, gang.ERROR_KEY, told)
            raise RuntimeError(told) from None  # some exceptions would end the worker


def _wait_for_others(job: Job, store: TCPStore) -> None:
    """Wait until all ranks can take part; raise `Broken` if one reports that it cannot."""
    for rank in range(1, job.workers):
        if told := store.get(f"{READY}/{rank}").decode():
            raise gang.Broken(f"worker {rank + 1} of {job.workers} does not take part: {told}")


@contextlib.contextmanager
def _joined(job: Job, rank: int, store: TCPStore) -> Iterator[None]:
    """Join the process group as a rank within the block."""
    name = _interface_of(_own_host())
    for library in ("GLOO", "NCCL"):  # the network that Dask's messages use
        if name:
            os.environ.setdefault(f"{library}_SOCKET_IFNAME", name)
    backend = "nccl" if current_device().type == "cuda" else "gloo"
    if backend == "nccl":
        torch.cuda.set_device(current_device())
    dist.init_process_group(backend, store=store, rank=rank, world_size=job.workers, timeout=PATIENCE)
    try:
        with gang.in_force(gang.Gang(rank, job.workers, job.batch_norm, store)):
            yield
    finally:
        dist.destroy_process_group()


def _tell(store: TCPStore, key: str, text: str) -> None:
    """Set a key and wait until the store has it."""
    store.set(key, text)
    store.get(key)


def _own_host() -> str:
    """Return the address by which other workers reach this one."""
    return str(get_address_host(get_worker().address))


def _interface_of(address: str) -> str | None:
    """Return the name of the network interface that has an address, or None."""
    for name, found in psutil.net_if_addrs().items():
        if any(one.address == address for one in found):
            return str(name)
    return None
