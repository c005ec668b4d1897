"""Compare demes with one population on multimodal functions, at an equal number of function calls.

    OMP_NUM_THREADS=1 python scripts/bench/demes.py [--seeds 20] [--calls 4000] [--population 96] [--jobs 1]

The functions have many minima and five arguments: those of function_suite.py, shifted for each seed, and
Schwefel's, whose second deepest minimum is far from the deepest one. Schwefel's minimum is near a corner of
the box, so it is not shifted. A search is stuck if its error after all calls is larger than that of any point
in the valley of the global minimum (`VALLEY`). Print for each function and arm the number of seeds that are
stuck, and the median error with its quartiles. Strategy and options are those of `evodevo.minimise`; the
members are the same as the engine's (tests/test_bench_demes.py).

one        one population
demes      demes on a 2 x 4 grid; every 20 generations the best of each migrates to its neighbours
apart      the same demes without migration
often      the same demes with migration every 5 generations
ring       eight demes in a ring (two neighbours each) with migration every 20 generations
varied     as `demes`, half of which mutate four times as often
random     points drawn uniformly from the box
"""

import argparse
import json
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
from function_suite import NAMES, Moved, Point
from functions import members_of
from measuring import machine

from evodevo.config import RunConfig
from evodevo.service.function_space import loci_of
from evodevo.service.functions import config_of

GRID: Mapping[str, Any] = {"grid": [2, 4], "every": 20}
OFTEN: Mapping[str, Any] = {"mutation_rate": 0.4}
ARMS: Mapping[str, Mapping[str, Any] | None] = {
    "one": None,
    "demes": GRID,
    "apart": {**GRID, "migrants": 0},
    "often": {**GRID, "every": 5},
    "ring": {"grid": [8], "every": 20},
    "varied": {**GRID, "options": [{}, OFTEN] * 4},
}
VALLEY: Mapping[str, float] = {"schwefel": 100.0, "styblinski_tang": 10.0, "rastrigin": 0.9}
"""A little less than the error of the second deepest minimum: 118.4, 14.1 and 0.995."""
MOST_GENERATIONS = 100_000

Task = dict[str, Any]


def schwefel(z: Point) -> float:
    """Return Schwefel's function 2.26, which is 0 at 420.97 in each coordinate (Surjanovic and Bingham)."""
    return float(418.98288727243374 * len(z) - (z * np.sin(np.sqrt(np.abs(z)))).sum())


class Function:
    """A function of the benchmark, called with x0=..., x1=..., ...; records the value of each call."""

    def __init__(self, name: str, seed: int) -> None:
        self.moved = None if name == "schwefel" else Moved(name, seed)
        self.half = self.moved.case.half if self.moved else 500.0
        self.values: list[float] = []

    def __call__(self, **values: float) -> float:
        at = np.array([values[name] for name in NAMES])
        self.values.append(self.moved(**values) if self.moved else schwefel(at))
        return self.values[-1]


def config_for(function: str, arm: str, seed: int, population: int, generations: int) -> RunConfig:
    """Return the config that `evodevo.minimise` would make."""
    half = Function(function, seed).half
    loci = loci_of(dict.fromkeys(NAMES, (-half, half)), {})
    about = {"function": function, "sent": "none"}
    return config_of("min", about, loci, "demes", population, generations, demes=ARMS[arm], seed=seed)


def evolve(task: Task) -> Task:
    """Return the task with the best value after its calls and the number of members born."""
    name, seed, calls = task["function"], task["seed"], task["calls"]
    function, births = Function(name, seed), 0
    if task["arm"] == "random":
        draw = np.random.default_rng(seed)
        for _ in range(calls):
            point = draw.uniform(-function.half, function.half, len(NAMES))
            function(**dict(zip(NAMES, point, strict=True)))
        return {**task, "best": min(function.values), "births": calls}
    config = config_for(name, task["arm"], seed, task["population"], MOST_GENERATIONS)
    for members in members_of(config, function):
        births += len(members)
        if len(function.values) >= calls:
            break
    return {**task, "best": min(function.values[:calls]), "births": births}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seeds", type=int, default=20, help="default: %(default)s")
    add("--calls", type=int, default=4000, help="default: %(default)s")
    add("--population", type=int, default=96, help="default: %(default)s")
    add("--jobs", type=int, default=1, help="processes (default: %(default)s)")
    add("--functions", default=",".join(VALLEY), help="separated by commas (default: %(default)s)")
    add("--arms", default=",".join([*ARMS, "random"]), help="separated by commas (default: %(default)s)")
    add("--out", type=Path, metavar="FILE", help="append each result to this file, as a line of JSON")
    options = parser.parse_args()
    functions, arms = options.functions.split(","), options.arms.split(",")
    sizes = {"calls": options.calls, "population": options.population}
    tasks = [
        {"function": function, "arm": arm, "seed": seed, **sizes}
        for seed in range(options.seeds)
        for function in functions
        for arm in arms
    ]
    found: dict[tuple[str, str], list[Task]] = {}
    began = time.monotonic()
    with ProcessPoolExecutor(options.jobs) as pool:
        for done in as_completed([pool.submit(evolve, task) for task in tasks]):
            result = done.result()
            found.setdefault((result["function"], result["arm"]), []).append(result)
            if options.out:
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(result) + "\n")
    print(f"| {options.calls} calls, {options.seeds} seeds | {' | '.join(arms)} |")
    print("| --- " * (1 + len(arms)) + "|")
    for function in functions:
        cells = []
        for arm in arms:
            errors = [one["best"] for one in found[function, arm]]
            low, median, high = np.quantile(errors, [0.25, 0.5, 0.75])
            stuck = sum(error > VALLEY[function] for error in errors)
            cells.append(f"{stuck}; {median:.2g} ({low:.2g} to {high:.2g})")
        print(f"| {function} | {' | '.join(cells)} |")
    for arm in arms:
        births = [one["births"] for (_, of), results in found.items() if of == arm for one in results]
        print(f"{arm}: {np.median(births):.0f} members (median) for {options.calls} calls")
    print(f"{len(tasks)} runs in {time.monotonic() - began:.0f} s; {machine()}")


if __name__ == "__main__":
    main()
