"""Measure Dask's scheduler with the service's dispatcher and controller in it, and thousands of workers.

    python scripts/bench/crowd.py [--crowds 1000@1 1000@10] [--generations 3] [--out crowd.jsonl]

join     CPU milliseconds of the scheduler's process per worker that registers
idle     fraction of a core taken by the heartbeats of all workers while nothing is trained
task     CPU milliseconds of the scheduler's process, messages on workers' streams and their bytes, per Dask
         task (a member-epoch is one task on each of its N workers); and the journal's bytes per member
memory   peak megabytes of the scheduler's process, and `end_memory` after all workers were killed at once

The scheduler, its TCP connections, the client, the dispatcher, the pool, the roster and the controller with
its journal are the real ones, in this process. The workers are simulated by another process: they register,
answer each task after `--leg-s` seconds as a worker does (with report and end), and send heartbeats as often
as the scheduler asks, over a few shared connections. Nannies (one connection each), data, training and
checkpoints are not included. `--crowds` is WORKERS@N, with N workers per member.
"""

import argparse
import asyncio
import json
import logging
import multiprocessing
import re
import resource
import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Scheduler, Worker
from distributed.comm import connect
from distributed.versions import get_versions
from measuring import Log, durable_write_ms, parser_for, runs_directory, spread
from scale import Shape, config_of, outcome_of

from evodevo.run.controller import Controller
from evodevo.run.crew import ANYTHING, Needs
from evodevo.run.dispatch import Dispatcher
from evodevo.run.history import load_history
from evodevo.run.records import STREAM
from evodevo.run.setup import EXAMINE, JOURNAL, RENDER, create_run
from evodevo.versions import own_versions

HEARTBEAT_CONNECTIONS = 8
JOINING_AT_ONCE = 50
OF_ANOTHER_RANK = re.compile(r"-[0-9a-f]{12}-\d+$")
"""Matches the end of the keys of a gang's tasks except the first."""
TCP_BYTES = struct.Struct("=QQ")
TCP_BYTES_AT = 120
"""Offset of `tcpi_bytes_acked` and `tcpi_bytes_received` in Linux's `struct tcp_info`."""


@dataclass(frozen=True)
class Crowd:
    """A number of workers, `at_once` of which train each member."""

    workers: int
    at_once: int

    def __str__(self) -> str:
        return f"{self.workers}@{self.at_once}"


class Crew:
    """Simulated workers, each with its own connection to the scheduler."""

    def __init__(self, address: str, crowd: Crowd, leg_s: float) -> None:
        self._address, self._crowd, self._leg_s = address, crowd, leg_s
        self.counted: Counter[str] = Counter()
        self._interval_s = 1.0
        self._comms: list[Any] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def join(self) -> None:
        async with await Worker(self._address, nthreads=1, dashboard_address=":0") as real:
            self._metrics = await real.get_metrics()
        self._versions = get_versions()
        gate = asyncio.Semaphore(JOINING_AT_ONCE)
        await asyncio.gather(*(self._register(number, gate) for number in range(self._crowd.workers)))
        for number in range(HEARTBEAT_CONNECTIONS):
            self._tasks.append(asyncio.create_task(self._heartbeats(number)))

    async def _register(self, number: int, gate: asyncio.Semaphore) -> None:
        async with gate:
            comm = await connect(self._address, deserialize=False)
            about = {"device": "cpu", "ends_at": None, "problem": None, "versions": own_versions()}
            request = {
                "op": "register-worker", "reply": False, "address": _address_of(number), "status": "running",
                "nthreads": 1, "name": f"worker-{number}", "now": time.time(), "resources": {},
                "memory_limit": None, "local_directory": "/tmp", "services": {}, "nanny": None, "pid": number,
                "versions": self._versions, "metrics": self._metrics, "extra": {"evodevo": about},
                "stimulus_id": f"join-{number}", "server_id": f"Worker-{number}",
            }  # fmt: skip
            await comm.write(request, serializers=["msgpack"])
            answer = await comm.read(deserializers=["msgpack"])
            assert answer["status"] == "OK", answer
            self._interval_s = answer["heartbeat-interval"]
            self._comms.append(comm)
            self._tasks.append(asyncio.create_task(self._work(comm, number)))

    async def _work(self, comm: Any, number: int) -> None:
        while True:
            for message in await comm.read():
                self.counted["received"] += 1
                if message.get("op") == "compute-task":
                    self._tasks.append(asyncio.create_task(self._carry_out(comm, message, number)))

    async def _carry_out(self, comm: Any, message: Any, number: int) -> None:
        key = message["key"]
        reports = not OF_ANOTHER_RANK.search(key)
        if reports and self._crowd.at_once > 1:
            await self._send(comm, self._report(key, {"index": 0, "gang": ["10.0.0.1", 40000]}))
        began = time.time()
        await asyncio.sleep(self._leg_s)
        ending = []
        if reports:
            outcome = outcome_of(key, {"a": number % 97 / 97, "b": 0.5, "c": began % 1}).to_json()
            ending.append(self._report(key, {"index": 0, "outcome": outcome, "started_at": began}))
        ending.append(
            {
                "op": "task-finished", "status": "OK", "key": key, "run_id": message["run_id"],
                "stimulus_id": f"done-{key}", "nbytes": 16, "type": b"", "typename": "NoneType",
                "metadata": {}, "thread": 1,
                "startstops": [{"action": "compute", "start": began, "stop": time.time()}],
            }
        )  # fmt: skip
        self.counted["tasks"] += 1
        await self._send(comm, *ending)

    def _report(self, key: str, report: dict[str, Any]) -> dict[str, Any]:
        return {"op": STREAM, "key": key, "reports": json.dumps([report])}

    async def _send(self, comm: Any, *messages: dict[str, Any]) -> None:
        self.counted["sent"] += len(messages)
        await comm.write(list(messages), serializers=["msgpack"])

    async def _heartbeats(self, first: int) -> None:
        """Send the heartbeats of every eighth worker, spread evenly over the interval."""
        comm = await connect(self._address, deserialize=False)
        numbers = range(first, self._crowd.workers, HEARTBEAT_CONNECTIONS)
        while True:
            for number in numbers:
                await asyncio.sleep(self._interval_s / len(numbers))
                await comm.write(
                    {
                        "op": "heartbeat_worker", "reply": True, "address": _address_of(number),
                        "now": time.time(), "metrics": self._metrics, "executing": {}, "extensions": {},
                    },
                    serializers=["msgpack"],
                )  # fmt: skip
                await comm.read()
                self.counted["heartbeats"] += 1

    def told(self) -> dict[str, int]:
        """Return the counts so far, with the bytes sent and received on all streams."""
        sent = received = 0
        for comm in self._comms:
            info = comm.stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
            acked, got = TCP_BYTES.unpack_from(info, TCP_BYTES_AT)
            sent, received = sent + acked, received + got
        return {**self.counted, "bytes": sent + received}


def _address_of(number: int) -> str:
    return f"tcp://10.{number // 65_000}.{number // 250 % 256}.{number % 250 + 1}:40331"


def crew_process(pipe: Any, address: str, crowd: Crowd, leg_s: float) -> None:
    """Let the workers join, then answer each request with the counts so far; runs in a separate process."""

    async def main() -> None:
        crew = Crew(address, crowd, leg_s)
        await crew.join()
        pipe.send("joined")
        while await asyncio.to_thread(pipe.recv) != "end":
            pipe.send(crew.told())

    logging.disable(logging.CRITICAL)
    _have_enough_files()
    asyncio.run(main())


class Answering(Dispatcher):
    """A dispatcher that answers the calls after the last generation itself."""

    async def call(self, run: str, function: str, *arguments: Any, needs: Needs = ANYTHING) -> Any:
        return {EXAMINE: {}, RENDER: []}[function]


async def measured(
    directory: Path, crowd: Crowd, generations: int, leg_s: float, idle_s: float
) -> dict[str, Any]:
    """Let a crowd join, stay idle, and run a search with as many members as it can train at once."""
    pipe, end = multiprocessing.Pipe()
    population = crowd.workers // crowd.at_once
    shape = Shape(population, generations, crowd.workers, crowd.at_once)
    create_run(directory, config_of("tri_parent:generations", shape))
    found: dict[str, Any] = {}
    async with (
        Scheduler(dashboard_address=":0", host="127.0.0.1") as scheduler,
        Client(scheduler.address, asynchronous=True, set_as_default=False) as client,
    ):
        process = multiprocessing.get_context("spawn").Process(
            target=crew_process, args=(end, scheduler.address, crowd, leg_s)
        )
        process.start()
        before, began = time.process_time(), time.monotonic()
        assert await asyncio.to_thread(pipe.recv) == "joined"
        found["join_ms"] = 1e3 * (time.process_time() - before) / crowd.workers
        found["join_s"] = time.monotonic() - began
        dispatcher = Answering(scheduler, client)
        before, began = time.process_time(), time.monotonic()
        await asyncio.sleep(idle_s)
        found["idle"] = (time.process_time() - before) / (time.monotonic() - began)
        first = await asyncio.to_thread(_asked, pipe)
        before, began = time.process_time(), time.monotonic()
        await Controller(directory, dispatcher, {"host": "simulated"}).carry_out()
        cpu_s, wall_s = time.process_time() - before, time.monotonic() - began
        last = await asyncio.to_thread(_asked, pipe)
        found["memory_mb"] = _peak_mb()
        pipe.send("end")
        process.kill()
        process.join()
        await dispatcher.close()
    history = load_history(directory / JOURNAL)
    assert (history.end, len(history.over)) == ("done", population * generations), history.reason
    assert history.lost_attempts == 0
    tasks = last["tasks"] - first.get("tasks", 0)
    messages = sum(last[one] - first.get(one, 0) for one in ("sent", "received"))
    return {
        **found,
        "wall_s": wall_s,
        "task_ms": 1e3 * (cpu_s - found["idle"] * wall_s) / tasks,
        "member_ms": 1e3 * cpu_s / (population * generations),
        "messages": messages / tasks,
        "bytes": (last["bytes"] - first["bytes"]) / tasks,
        "journal_bytes": (directory / JOURNAL).stat().st_size / (population * generations),
        "end_memory_mb": _peak_mb(),
    }


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _asked(pipe: Any) -> dict[str, int]:
    pipe.send("count")
    told: dict[str, int] = pipe.recv()
    return told


def _have_enough_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def in_own_process(pipe: Any, *arguments: Any) -> None:
    """Measure in a fresh process, whose memory holds nothing else."""
    logging.disable(logging.CRITICAL)
    _have_enough_files()
    with dask.config.set({"distributed.scheduler.worker-ttl": None}):
        pipe.send(asyncio.run(measured(*arguments)))


def _crowd(text: str) -> Crowd:
    workers, _, at_once = text.partition("@")
    try:
        return Crowd(int(workers), int(at_once or 1))
    except ValueError:
        raise argparse.ArgumentTypeError(f"should have the form 1000@10, not {text!r}") from None


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument(
        "--crowds", type=_crowd, nargs="+", metavar="WORKERS@N",
        default=[Crowd(100, 1), Crowd(1000, 1), Crowd(1000, 10)],
    )  # fmt: skip
    parser.add_argument("--generations", type=int, default=3)
    parser.add_argument(
        "--leg-s", type=float, default=5.0, help="seconds of each epoch (default: %(default)s)"
    )
    parser.add_argument(
        "--idle-s", type=float, default=20.0, help="seconds without work (default: %(default)s)"
    )
    options = parser.parse_args()
    with runs_directory(options.dir) as runs_dir:
        log = Log(options.out, **{"a durable write": f"{durable_write_ms(runs_dir):.2f} ms"})
        for crowd in options.crowds:
            found: dict[str, list[float]] = {}
            for run in range(options.runs):
                ours, theirs = multiprocessing.Pipe()
                directory = runs_dir / f"{crowd}-{run}"
                arguments = directory, crowd, options.generations, options.leg_s, options.idle_s
                process = multiprocessing.get_context("spawn").Process(
                    target=in_own_process, args=(theirs, *arguments)
                )
                process.start()
                theirs.close()
                measures = ours.recv()
                process.join()
                log.add(run=run, crowd=str(crowd), **measures)
                for name, value in measures.items():
                    found.setdefault(name, []).append(value)
            print(f"\n{crowd}, {options.runs} runs")
            for name, values in found.items():
                print(f"  {name}: {spread(values)}")


if __name__ == "__main__":
    main()
