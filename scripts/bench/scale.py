"""Measure how the scheduler's work grows with the population, in one process with simulated workers.

    python scripts/bench/scale.py [--parts search journal page] [--runs 5] [--out scale.jsonl]

search   CPU microseconds and wall microseconds per member-epoch of a whole search, for each of `--searches`
         (STRATEGY:PACE, pools of 8) and each of `--shapes` (POPULATIONxGENERATIONS/WORKERS, with @N if N
         workers train each member together), and the ratio to the first shape; also the longest time for
         which the event loop was blocked, and the process's memory per member
journal  seconds to read a journal of a million records, and the memory of its history per member
page     seconds for history.csv, for the first and a later refresh of a view, and for the picture of a large
         search, and the bytes sent to a browser

The controller, its journal with each fsync, pacing, packing, the pool and the roster of workers are the real
ones. The workers are simulated: `--together` outcomes arrive at a time, and each claims 60 s of training. Not
included are Dask itself (one task and one message per member) and checkpoint files: since none is written,
each deletion is an `unlink` of a missing file. Each measurement is made in a fresh process.
"""

import argparse
import asyncio
import gc
import multiprocessing
import resource
import time
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from measuring import (
    Log,
    durable_write_ms,
    interleaved,
    no_work_config,
    parser_for,
    ratios,
    runs_directory,
    spread,
)

from evodevo.config import RunConfig, parse
from evodevo.run.codec import encode
from evodevo.run.controller import Controller
from evodevo.run.crew import ANYTHING, Inbox, Needs, Offered, Reported
from evodevo.run.events import Births, Born, Result, member_id
from evodevo.run.history import load_history
from evodevo.run.journal import encode as line_of
from evodevo.run.pool import Claim, Pool
from evodevo.run.records import CheckpointRef, Outcome, WorkUnit
from evodevo.run.roster import Roster
from evodevo.run.setup import EXAMINE, JOURNAL, RENDER, create_run
from evodevo.run.view import FileSource, View
from evodevo.versions import own_versions

POOL = 8
TICK_S = 0.005
SECONDS = {"wait": 0.0312, "load": 0.0218, "train": 57.8139, "eval": 2.1453, "save": 0.0082}
"""The seconds that each attempt reports; epochs of this length make each member a separate task."""
SHA256 = "0f1e2d3c4b5a6978" * 4


@dataclass(frozen=True)
class Shape:
    """Size of a search, as POPULATIONxGENERATIONS/WORKERS[@WORKERS_PER_MEMBER]."""

    population: int
    generations: int
    workers: int
    at_once: int = 1

    def __str__(self) -> str:
        suffix = f"@{self.at_once}" if self.at_once > 1 else ""
        return f"{self.population}x{self.generations}/{self.workers}{suffix}"


@dataclass(frozen=True)
class Cost:
    """The costs of a search.

    `cpu_us` and `wall_us` are per member-epoch, `bytes` is the growth of the process's peak memory per
    member, and `stall_ms` the longest time for which the event loop was blocked.
    """

    cpu_us: float
    wall_us: float
    bytes: float
    stall_ms: float


def config_of(search: str, shape: Shape, seed: int = 0) -> RunConfig:
    """Return the config of a search, given as STRATEGY:PACE, over a workload that does nothing."""
    strategy, _, pace = search.partition(":")
    config = no_work_config("scale", "Nothing", shape.population, shape.generations)
    config["run"]["seed"] = seed
    config["search"] |= {"strategy": strategy, "pace": pace}
    config["cluster"] = {"workers_per_member": shape.at_once}
    if pace == "pools":
        config["search"]["pool"] = POOL
    return parse(config)


class Simulation:
    """Workers of one run whose outcomes are there at once; a `Caller` of the controller.

    `together` outcomes arrive each time the controller has handled the previous ones.
    """

    def __init__(self, workers: int, together: int) -> None:
        self.roster = Roster()
        self.pool = Pool()
        self.together = together
        self.began = self.ended = (0.0, 0.0)
        """CPU and wall clock at the first birth, and after the last outcome."""
        self.stall_s = 0.0
        about = {"problem": None, "device": "cpu", "ends_at": None, "versions": own_versions()}
        for number in range(workers):
            name = f"tcp://10.0.{number // 250}.{number % 250 + 1}:40331"
            self.roster.join(name, about)
            self.pool.join(name)

    async def call(self, run: str, function: str, *arguments: Any, needs: Needs = ANYTHING) -> Any:
        return {EXAMINE: {}, RENDER: []}[function]

    def enlist(self, run: str, inbox: Inbox, at_once: int = 1) -> "SimulatedCrew":
        gc.collect()
        self.began = _now()
        self._tick(asyncio.get_running_loop(), time.process_time())
        return SimulatedCrew(self, run, inbox, at_once)

    def _tick(self, loop: asyncio.AbstractEventLoop, before: float) -> None:
        """Record the most CPU time between two ticks, which are a few milliseconds apart."""
        now = time.process_time()
        self.stall_s = max(self.stall_s, now - before)
        if self.ended == (0.0, 0.0):
            loop.call_later(TICK_S, self._tick, loop, now)


class SimulatedCrew:
    """The run's share of the simulated workers, like the dispatcher's but without Dask."""

    def __init__(self, simulation: Simulation, run: str, inbox: Inbox, at_once: int) -> None:
        self._simulation = simulation
        self._inbox = inbox
        self._needs = ANYTHING
        self._at_work: deque[tuple[tuple[str, ...], WorkUnit]] = deque()
        self._claim = Claim(
            run,
            lambda worker: inbox.put(Offered(worker)),
            self._suits,
            at_once=at_once,
            kind=simulation.roster.kind,
        )
        simulation.pool.claim(self._claim)

    def want(self, workers: int, needs: Needs, preferred: Collection[str]) -> None:
        self._claim.wants, self._needs, self._claim.preferred = workers, needs, preferred
        self._simulation.pool.match()
        asyncio.get_running_loop().call_soon(self._report)

    def idle(self, most: int) -> int:
        suited = filter(self._suits, self._simulation.pool.free)
        return sum(1 for _ in islice(suited, max(0, most)))

    def send(self, worker: str, unit: WorkUnit) -> bool:
        self._at_work.append((self._simulation.pool.use(worker), unit))
        return True

    def decline(self, worker: str) -> None:
        self._simulation.pool.release(worker)

    def dismiss(self) -> None:
        self._simulation.ended = _now()
        self._simulation.pool.withdraw(self._claim)

    def _report(self) -> None:
        for _ in range(min(self._simulation.together, len(self._at_work))):
            team, unit = self._at_work.popleft()
            for assignment in unit.assignments:
                outcome = outcome_of(assignment.checkpoint_stem, assignment.hyperparameters)
                self._inbox.put(Reported(assignment, outcome, team[0], time.time()))
            for worker in team:
                self._simulation.pool.release(worker)

    def _suits(self, worker: str) -> bool:
        return not self._simulation.roster.why_unfit(worker, self._needs)


def outcome_of(stem: str, hyperparameters: Mapping[str, Any]) -> Outcome:
    """Return an outcome as a worker reports it; its checkpoint file does not exist."""
    fom = sum((hyperparameters[name] - 0.5) ** 2 for name in ("a", "b", "c"))
    crc = zlib.crc32(stem.encode())
    ref = CheckpointRef(f"{stem}-{crc:012x}.safetensors", 178_110, f"{crc:08x}{SHA256[8:]}")
    metrics = {"train_loss": 1.1 * fom, "validation_loss": fom, "validation_accuracy": 1 / (1 + fom)}
    return Outcome("done", fom, metrics, ref, dict(SECONDS), hidden_s=0.0127)


def cost_of(directory: Path, search: str, shape: Shape, together: int, seed: int) -> Cost:
    """Carry out a search with simulated workers, in a new directory."""
    create_run(directory, config_of(search, shape, seed))
    simulation = Simulation(shape.workers, together)
    before = _peak_bytes()
    asyncio.run(Controller(directory, simulation, {"host": "simulated"}).carry_out())
    after = _peak_bytes()
    members = shape.population * shape.generations
    cpu_s, wall_s = (end - begin for begin, end in zip(simulation.began, simulation.ended, strict=True))
    history = load_history(directory / JOURNAL)
    assert (history.end, len(history.over)) == ("done", members), history.reason
    return Cost(
        1e6 * cpu_s / members, 1e6 * wall_s / members, (after - before) / members, 1e3 * simulation.stall_s
    )


def write_journal(directory: Path, records: int, population: int, at_once: int) -> int:
    """Create a run with a journal of about `records` records; return the exact number.

    Members are born `at_once` at a time, a whole generation (as in the pace `generations`) or fewer, and
    their outcomes follow.
    """
    members = records * at_once // (at_once + 1)
    generations = max(1, members // population)
    create_run(directory, config_of("tri_parent:generations", Shape(population, generations, 1)))
    strategy = config_of("tri_parent:generations", Shape(population, generations, 1)).strategy()
    with (directory / JOURNAL).open("ab") as file:
        count = 1
        for record in _records(strategy, population, generations, at_once):
            file.write(line_of({"n": count, "time": 1.8e9 + 0.001 * count} | record))
            count += 1
    return count


def _records(strategy: Any, population: int, generations: int, at_once: int) -> Iterator[dict[str, Any]]:
    """Yield a controller's records: births with parents in the previous generation, and outcomes."""
    yield {"kind": "controller", "format": 2, "retry": [], "host": "simulated"}
    founders = [strategy.founder(0, slot) for slot in range(population)]
    for generation in range(generations):
        for first in range(0, population, at_once):
            slots = range(first, min(first + at_once, population))
            births = [_born(founders, generation, slot, population) for slot in slots]
            yield encode(Births(births))
            for born in births:
                worker = f"tcp://10.0.0.{born.slot % 250 + 1}:40331"
                outcome = outcome_of(f"{born.member}-a1", born.birth.genome)
                yield encode(Result(born.member, outcome, worker, 1.8e9 + generation))


def _born(founders: Sequence[Any], generation: int, slot: int, population: int) -> Born:
    birth = founders[slot]
    if generation:
        a, b, alpha = (member_id(generation - 1, (slot * step + 1) % population) for step in (1, 3, 7))
        birth = type(birth)(birth.genome, a, b, alpha)
    return Born(member_id(generation, slot), generation, slot, birth, 2_000_003 * slot % 2**31)


def reading_of(directory: Path) -> dict[str, float]:
    """Read a run's journal; return CPU and wall seconds, and peak memory per member in bytes."""
    before, began = _peak_bytes(), _now()
    history = load_history(directory / JOURNAL)
    cpu_s, wall_s = (now - then for now, then in zip(_now(), began, strict=True))
    return {"cpu_s": cpu_s, "wall_s": wall_s, "bytes": (_peak_bytes() - before) / len(history.births)}


def page_of(directory: Path) -> dict[str, float]:
    """View a run as the page does; return the CPU seconds, the rows drawn, and the megabytes sent."""
    from bokeh.core.json_encoder import serialize_json
    from bokeh.document import Document

    from evodevo.report.live import picture_of
    from evodevo.report.tables import history_csv
    from evodevo.service.figures import RunFigures

    found: dict[str, float] = {}
    view = View("scale", FileSource(directory))
    found["first_look_s"], _ = timed(view.refresh)
    found["later_look_s"], _ = timed(view.refresh)
    found["csv_s"], text = timed(lambda: history_csv(view.history))
    found["csv_mb"] = len(text) / 1e6
    found["picture_s"], picture = timed(lambda: picture_of(view.history))
    found["members_drawn"] = len(picture.columns["population"]["generation"])
    found["rows_drawn"] = sum(len(next(iter(columns.values()))) for columns in picture.columns.values())
    document = Document()
    found["figures_s"], figures = timed(lambda: RunFigures(picture.drawing, picture.columns))
    document.add_root(figures.root)
    found["sent_mb"] = len(serialize_json(document.to_json(deferred=False))) / 1e6
    return found


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Call a function; return the CPU seconds that it takes, and its result."""
    began = time.process_time()
    result = function()
    return time.process_time() - began, result


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of this module in a fresh process, whose memory holds nothing else."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def growth(costs: Mapping[Shape, Sequence[float]]) -> dict[Shape, list[float]]:
    """Divide each shape's costs, run by run, by those of the first shape."""
    first, *others = costs
    return {shape: ratios(costs[shape], costs[first]) for shape in others}


def measure_searches(options: argparse.Namespace, log: Log, runs_dir: Path) -> None:
    costs: dict[str, dict[Shape, list[float]]] = {search: {} for search in options.searches}
    sizes: dict[str, dict[Shape, list[float]]] = {search: {} for search in options.searches}
    kinds = [(search, shape) for search in options.searches for shape in options.shapes]
    for run, (search, shape) in interleaved(kinds, options.runs):
        directory = runs_dir / f"{search.replace(':', '-')}-{str(shape).replace('/', '-')}-{run}"
        cost = apart(cost_of, directory, search, shape, options.together, run)
        costs[search].setdefault(shape, []).append(cost.cpu_us)
        sizes[search].setdefault(shape, []).append(cost.bytes)
        log.add(run=run, search=search, shape=str(shape), together=options.together, **asdict(cost))
    for search, by_shape in costs.items():
        print(f"\n{search}, {options.together} outcomes at a time, {options.runs} runs")
        for shape, values in by_shape.items():
            print(f"  {shape}: {spread(values)} us of CPU per member-epoch, ", end="")
            print(f"{spread(sizes[search][shape])} bytes per member")
        for shape, times in growth(by_shape).items():
            print(f"  {shape} / {next(iter(by_shape))}: {spread(times)}")


def measure_journal(options: argparse.Namespace, log: Log, runs_dir: Path) -> None:
    found: dict[int, list[float]] = {}
    for at_once in (options.population, 1):
        directory = runs_dir / f"journal-{at_once}"
        count = write_journal(directory, options.records, options.population, at_once)
        for run in range(options.runs):
            measured = apart(reading_of, directory)
            found.setdefault(at_once, []).append(measured["wall_s"])
            log.add(run=run, records=count, births_per_record=at_once, **measured)
        (directory / JOURNAL).unlink()
    print(f"\na journal of {options.records} records, {options.runs} runs")
    for at_once, values in found.items():
        print(f"  births {at_once} per record: read in {spread(values)} s")


def measure_page(options: argparse.Namespace, log: Log, runs_dir: Path) -> None:
    found: dict[str, list[float]] = {}
    shape = Shape(options.population, 10, 1000)
    directory = runs_dir / "page"
    apart(cost_of, directory, "tri_parent:generations", shape, 1000, 0)
    for run in range(options.runs):
        measured = apart(page_of, directory)
        for name, value in measured.items():
            found.setdefault(name, []).append(value)
        log.add(run=run, **measured)
    print(f"\nthe page of {shape.population * shape.generations} members, {options.runs} runs")
    for name, values in found.items():
        print(f"  {name}: {spread(values)}")


MEASURES = {"search": measure_searches, "journal": measure_journal, "page": measure_page}


def _now() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


def _peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _shape(text: str) -> Shape:
    try:
        population, rest = text.split("x")
        generations, workers = rest.split("/")
        workers, _, at_once = workers.partition("@")
        return Shape(int(population), int(generations), int(workers), int(at_once or 1))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"should have the form 100x100/16 or 100x20/10000@100, not {text!r}"
        ) from None


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--parts", choices=list(MEASURES), nargs="+", default=list(MEASURES))
    parser.add_argument(
        "--searches",
        nargs="+",
        default=[
            "tri_parent:generations",
            "truncation_pbt:generations",
            "tri_parent:pools",
            "tri_parent:steady",
        ],
        metavar="STRATEGY:PACE",
    )
    parser.add_argument(
        "--shapes",
        type=_shape,
        nargs="+",
        default=[Shape(100, 100, 16), Shape(100, 100, 1000), Shape(1000, 20, 1000), Shape(10_000, 2, 1000)],
        metavar="POPULATIONxGENERATIONS/WORKERS[@N]",
    )
    parser.add_argument(
        "--together", type=int, default=10, help="outcomes that arrive at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--records", type=int, default=1_000_000, help="records of the journal (default: %(default)s)"
    )
    parser.add_argument(
        "--population", type=int, default=10_000, help="members per generation (default: %(default)s)"
    )
    options = parser.parse_args()
    with runs_directory(options.dir) as runs_dir:
        log = Log(options.out, **{"a durable write": f"{durable_write_ms(runs_dir):.2f} ms"})
        for part in options.parts:
            MEASURES[part](options, log, runs_dir)


if __name__ == "__main__":
    main()
