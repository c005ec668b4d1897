"""Measure how long a gang takes to form on this machine's CPU, and the time of a sum over its ranks.

    python scripts/bench/gang.py [--sizes 2 4 8 16] [--megabytes 0.25 4] [--runs 5] [--out gang.jsonl]

form  milliseconds from opening the first rank's store to the end of the first sum, over gloo
sum   milliseconds of a sum of `--megabytes` of float32 over all ranks, the median of 20

The ranks are processes on one machine that share its cores and have already imported torch. So only the
growth with their number applies to a cluster, and none of it to NCCL.
"""

import argparse
import multiprocessing
import statistics
import time
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from measuring import Log, parser_for, spread

SUMS = 20


def lead(size: int, megabytes: list[float], pipe: Any, others: list[Any]) -> None:
    """Form the gang as its first rank, and send the measurements."""
    began = time.monotonic()
    store = dist.TCPStore(  # type: ignore[attr-defined]
        "127.0.0.1", 0, size, is_master=True, timeout=timedelta(minutes=5), wait_for_workers=False
    )
    for other in others:
        other.send(store.port)
    form_ms, sums_ms = _measured(0, size, megabytes, store, began)
    pipe.send((form_ms, sums_ms))


def follow(rank: int, size: int, megabytes: list[float], pipe: Any) -> None:
    port = pipe.recv()
    store = dist.TCPStore("127.0.0.1", port, size, is_master=False)  # type: ignore[attr-defined]
    _measured(rank, size, megabytes, store, time.monotonic())


def _measured(
    rank: int, size: int, megabytes: list[float], store: Any, began: float
) -> tuple[float, dict[float, float]]:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size)
    dist.all_reduce(torch.ones(1))
    form_ms = 1e3 * (time.monotonic() - began)
    sums_ms = {}
    for amount in megabytes:
        tensor = torch.ones(int(amount * 2**18))
        times = []
        for _ in range(SUMS):
            before = time.monotonic()
            dist.all_reduce(tensor)
            times.append(1e3 * (time.monotonic() - before))
        sums_ms[amount] = statistics.median(times)
    dist.barrier()
    dist.destroy_process_group()
    return form_ms, sums_ms


def gang_of(size: int, megabytes: list[float]) -> tuple[float, dict[float, float]]:
    """Form a gang of new processes; return the milliseconds to form it, and those of each sum."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    pipes = [context.Pipe() for _ in range(size - 1)]
    processes = [
        context.Process(target=follow, args=(rank, size, megabytes, end))
        for rank, (_, end) in enumerate(pipes, start=1)
    ]
    processes.append(
        context.Process(target=lead, args=(size, megabytes, theirs, [first for first, _ in pipes]))
    )
    for process in processes:
        process.start()
    measured: tuple[float, dict[float, float]] = ours.recv()
    for process in processes:
        process.join()
    return measured


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--megabytes", type=float, nargs="+", default=[0.25, 4.0])
    options: argparse.Namespace = parser.parse_args()
    log = Log(options.out)
    for size in options.sizes:
        forms: list[float] = []
        sums: dict[float, list[float]] = {}
        for run in range(options.runs):
            form_ms, sums_ms = gang_of(size, options.megabytes)
            forms.append(form_ms)
            for amount, value in sums_ms.items():
                sums.setdefault(amount, []).append(value)
            log.add(run=run, size=size, form_ms=form_ms, **{f"sum_{one}_MB": sums_ms[one] for one in sums_ms})
        print(f"\n{size} ranks, {options.runs} runs")
        print(f"  formed in {spread(forms)} ms")
        for amount, values in sums.items():
            print(f"  a sum of {amount:g} MB: {spread(values)} ms")


if __name__ == "__main__":
    main()
