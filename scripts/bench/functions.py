"""Compare `evodevo.minimise` with Optuna's TPE and CMA-ES and random search, at equal evaluations.

    python scripts/bench/functions.py [--optuna-python optuna/bin/python] [--seeds 20] [--jobs 2] [--table]

The functions are those of function_suite.py, of five arguments, shifted for each seed. An evaluation is a
call of the function: evodevo calls it once per point, however many members are at that point. Print the
error, the distance from the function's minimum (medians over seeds with quartiles), and the number of seeds
for which evodevo's error is smaller.

evodevo         the defaults of `evodevo.minimise`
evodevo_paper   the same strategy with the mutation, crossover and selection of its paper
random          points drawn uniformly from the box
optuna_tpe      Optuna's TPE with default settings
optuna_cma      Optuna's CMA-ES with default settings

evodevo's strategy runs here without workers and journal, which affects only the time: a test
(tests/test_bench_functions.py) gets the same members from `evodevo.minimise` on a cluster. Each result is
appended to `--out` when it is done; the same command resumes with what is missing. For Optuna's environment
see peers.py.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
from function_suite import CASES, NAMES, Moved
from measuring import machine

from evodevo.config import RunConfig
from evodevo.evolution.population import Member
from evodevo.run.events import member_id
from evodevo.service.function_space import loci_of
from evodevo.service.functions import DEFAULT_POPULATION, config_of

HERE = Path(__file__).resolve().parent
MARKS = [100, 200, 500]
"""Numbers of evaluations after which the best is recorded."""
MOST_GENERATIONS = 5000
SHARE = 10
"""Runs of Optuna per process."""
PAPER: Mapping[str, Any] = {
    "mutation": "four_way",
    "mutation_rate": 0.05,
    "crossover_rate": 0.33,
    "fitness": "squared",
    "sigma": 10.0,
    "survivors": 0.0,
}
OPTIONS: Mapping[str, Mapping[str, Any] | None] = {"evodevo": None, "evodevo_paper": PAPER}
SEARCHES = [*OPTIONS, "random", "optuna_tpe", "optuna_cma"]

Task = dict[str, Any]


def config_for(function: str, seed: int, options: Mapping[str, Any] | None, generations: int) -> RunConfig:
    """Return the config that `evodevo.minimise` would make."""
    half = CASES[function].half
    loci = loci_of(dict.fromkeys(NAMES, (-half, half)), {})
    about = {"function": function, "sent": "none"}
    return config_of(
        "min", about, loci, "function", DEFAULT_POPULATION, generations, options=options, seed=seed
    )


def members_of(config: RunConfig, function: Callable[..., float]) -> Iterator[list[Member]]:
    """Yield each generation of a search over a function; the members are the same as the engine's."""
    strategy, space, known = config.strategy(), config.space(), dict[tuple[float, ...], float]()
    parents = None
    for generation in range(config.search.generations):
        members = []
        for slot in range(config.search.population):
            birth = (
                strategy.birth(generation, slot, parents, slot)
                if parents
                else strategy.founder(generation, slot)
            )
            values = space.express(birth.genome)
            point = tuple(float(values[name]) for name in NAMES)  # type: ignore[arg-type]
            if point not in known:
                known[point] = function(**dict(zip(NAMES, point, strict=True)))
            members.append(Member(member_id(generation, slot), generation, slot, birth, known[point]))
        yield members
        parents = strategy.evaluated(members)


def evolve(task: Task) -> Task:
    """Run a search of evodevo's or a random one; return the task with the best value at each of its marks."""
    name, seed, marks = task["function"], task["seed"], task["marks"]
    function, values = Moved(name, seed), list[float]()

    def counted(**given: float) -> float:
        values.append(function(**given))
        return values[-1]

    if task["search"] == "random":
        draw = np.random.default_rng(seed)
        while len(values) < max(marks):
            half = CASES[name].half
            counted(**dict(zip(NAMES, draw.uniform(-half, half, len(NAMES)), strict=True)))
        births = len(values)
    else:
        births = 0
        config = config_for(name, seed, OPTIONS[task["search"]], MOST_GENERATIONS)
        for members in members_of(config, counted):
            births += len(members)
            if len(values) >= max(marks):
                break
    return {**task, "best": [min(values[:mark]) for mark in marks], "births": births}


def by_optuna(python: str, tasks: Sequence[Task]) -> list[Task]:
    """Run tasks with Optuna, one after the other. Raises `RuntimeError` with the end of its output."""
    told = subprocess.run(
        [python, str(HERE / "functions_optuna.py")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)},
        input="".join(json.dumps(task) + "\n" for task in tasks),
        capture_output=True,
        text=True,
        check=False,
    )
    if told.returncode:
        raise RuntimeError(f"{python} functions_optuna.py: {told.stderr.strip()[-1000:]}")
    return [json.loads(line) for line in told.stdout.splitlines()]


def key_of(task: Task) -> tuple[str, str, int]:
    return task["search"], task["function"], task["seed"]


def read(path: Path) -> dict[tuple[str, str, int], Task]:
    """Return the results in a file; a truncated line is ignored."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            task = json.loads(line)
        except ValueError:
            continue
        if task["marks"] == MARKS:
            found[key_of(task)] = task
    return found


def carry_out(tasks: Sequence[Task], python: str, jobs: int) -> Iterator[Task]:
    """Yield the result of each task when it is done."""
    own = [task for task in tasks if not task["search"].startswith("optuna")]
    with ProcessPoolExecutor(jobs) as pool:
        for done in as_completed([pool.submit(evolve, task) for task in own]):
            yield done.result()
    peers = [task for task in tasks if task["search"].startswith("optuna")]
    shares = [peers[at : at + SHARE] for at in range(0, len(peers), SHARE)]
    with ThreadPoolExecutor(jobs) as threads:
        for share in as_completed([threads.submit(by_optuna, python, share) for share in shares]):
            yield from share.result()


def table(results: Mapping[tuple[str, str, int], Task], seeds: int, mark: int) -> list[str]:
    """Return a Markdown table of the error's medians and quartiles, and how often evodevo's is smaller."""
    searches = [one for one in SEARCHES if any(key[0] == one for key in results)]
    lines = [f"| after {mark} evaluations | {' | '.join(searches)} |", "| --- " * (1 + len(searches)) + "|"]
    at = MARKS.index(mark)
    for function in CASES:
        errors = {
            one: [results[one, function, seed]["best"][at] for seed in range(seeds)]
            for one in searches
            if all((one, function, seed) in results for seed in range(seeds))
        }
        ours = errors.get("evodevo")
        cells = [_cell(errors.get(one), None if one == "evodevo" else ours) for one in searches]
        lines.append(f"| {function} | {' | '.join(cells)} |")
    return lines


def _cell(errors: Sequence[float] | None, ours: Sequence[float] | None) -> str:
    if not errors:
        return ""
    low, median, high = np.quantile(errors, [0.25, 0.5, 0.75])
    wins = f"; {sum(a < b for a, b in zip(ours, errors, strict=True))}" if ours else ""
    return f"{median:.2g} ({low:.2g} to {high:.2g}){wins}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seeds", type=int, default=20, help="default: %(default)s")
    add("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    add("--searches", default=",".join(SEARCHES), help="separated by commas (default: %(default)s)")
    add("--optuna-python", default=sys.executable, metavar="PYTHON", help="Python that has Optuna")
    add("--out", type=Path, default=Path("checkpoints/functions.jsonl"), metavar="FILE", help="%(default)s")
    add("--table", action="store_true", help="run nothing, only print the table")
    options = parser.parse_args()
    results = read(options.out)
    tasks = [
        {"search": search, "function": function, "seed": seed, "marks": MARKS}
        for search in options.searches.split(",")
        for function in CASES
        for seed in range(options.seeds)
    ]
    missing = [task for task in tasks if key_of(task) not in results and not options.table]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with options.out.open("a", encoding="utf-8") as file:
        for done in carry_out(missing, options.optuna_python, options.jobs) if missing else ():
            file.write(json.dumps(done) + "\n")
            file.flush()
            results[key_of(done)] = done
    for mark in MARKS:
        print("\n".join([*table(results, options.seeds, mark), ""]))
    for search in OPTIONS:
        births = [one["births"] for key, one in results.items() if key[0] == search]
        if births:
            print(f"{search}: {np.median(births):.0f} members (median) for {max(MARKS)} evaluations")
    print(f"{len(missing)} runs in {time.monotonic() - began:.0f} s; {machine()}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    main()
