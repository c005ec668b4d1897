"""Measure the milliseconds per member-epoch when epochs do nothing, with 2 local workers.

    python scripts/bench/overhead.py [--peers] [--runs 5] [--shapes 100x10 16x20] [--out overhead.jsonl]

Measure in turn, for each POPULATIONxGENERATIONS:

evodevo  a tri-parent run with its journal and durable checkpoints (no_work.Nothing), from the first births
         record to the last outcome record in the journal, over population x generations
naive    a LocalCluster of 2 processes with 1 thread each; in each generation one `client.submit` per
         member, of a task that returns a float, then `client.gather`: without journal, checkpoints, fsync or
         selection; from the first submit to the last gather
ray      with --peers: Ray Tune's asynchronous PBT on 2 CPUs with settings that favour it (ray_pbt.py), from
         the first result of the last process to start to the last result, over the number of results between
         them; in a separate virtual environment, which is created if missing
"""

import argparse
import json
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from functools import partial
from pathlib import Path

from distributed import Client, LocalCluster
from measuring import (
    HERE,
    Log,
    cluster,
    durable_write_ms,
    interleaved,
    no_work_config,
    parser_for,
    ratios,
    records_of,
    runs_directory,
    spread,
    steady_span,
)

WORKERS = 2
RAY = "ray[tune]>=2.60,<3"
Shape = tuple[int, int]
"""Population and generations."""
Measure = Callable[[Shape, int], float]
"""Milliseconds per member-epoch, given the shape and the number of the run."""
NAMES = {"evodevo": "EvoDevo", "naive": "naive loop", "ray": "Ray Tune PBT"}


def evodevo_ms(runs_dir: Path, shape: Shape, run: int) -> float:
    population, generations = shape
    name = f"overhead-{population}x{generations}-{run}"
    with cluster(WORKERS, runs_dir) as client:
        client.submit(no_work_config(name, "Nothing", population, generations)).wait()
    began, ended = steady_span(records_of(runs_dir / name))
    return 1000 * (ended - began) / (population * generations)


def naive_ms(shape: Shape, run: int) -> float:
    population, generations = shape
    with (
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        began = time.monotonic()
        for _ in range(generations):
            client.gather([client.submit(float, slot, pure=False) for slot in range(population)])
        return 1000 * (time.monotonic() - began) / (population * generations)


def ray_ms(python: Path, shape: Shape, run: int) -> float:
    told = subprocess.run(
        [str(python), str(HERE / "ray_pbt.py"), *map(str, (*shape, run))], capture_output=True, text=True
    )
    if told.returncode:
        sys.exit(f"ray_pbt.py failed:\n{told.stderr[-3000:]}")
    return float(json.loads(told.stdout.splitlines()[-1])["ms"])


def ray_python(directory: Path) -> Path:
    """Return the Python of the virtual environment with Ray Tune, created if it is missing."""
    python = directory / "bin" / "python"
    if not python.exists():
        venv.create(directory, with_pip=True)
    if _ray_version(python) is None:
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", RAY], check=True)
    return python


def _ray_version(python: Path) -> str | None:
    code = "import ray, ray.tune; print(ray.__version__)"
    told = subprocess.run([str(python), "-c", code], capture_output=True, text=True)
    return told.stdout.strip() or None


def _shape(text: str) -> Shape:
    try:
        population, generations = map(int, text.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"should have the form 100x10, not {text!r}") from None
    return population, generations


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--peers", action="store_true", help="also measure Ray Tune's PBT")
    parser.add_argument(
        "--shapes", type=_shape, nargs="+", default=[(100, 10), (16, 20)], metavar="POPULATIONxGENERATIONS"
    )
    parser.add_argument(
        "--ray-venv",
        type=Path,
        default=Path("~/.cache/evodevo-bench/ray").expanduser(),
        help="virtual environment with Ray Tune (default: %(default)s)",
    )
    options = parser.parse_args()
    with runs_directory(options.dir) as runs_dir:
        measures: dict[str, Measure] = {"evodevo": partial(evodevo_ms, runs_dir), "naive": naive_ms}
        about = {"a durable write": f"{durable_write_ms(runs_dir):.2f} ms"}
        if options.peers:
            python = ray_python(options.ray_venv)
            measures["ray"] = partial(ray_ms, python)
            about["ray"] = str(_ray_version(python))
        log = Log(options.out, **about)
        measured: dict[tuple[Shape, str], list[float]] = {}
        for shape in options.shapes:
            for run, system in interleaved(list(measures), options.runs):
                ms = measures[system](shape, run)
                measured.setdefault((shape, system), []).append(ms)
                log.add(run=run, population=shape[0], generations=shape[1], system=system, ms=ms)
    for shape in options.shapes:
        print(f"\npopulation {shape[0]}, {shape[1]} generations, {options.runs} runs")
        for system in measures:
            print(f"  {NAMES[system]}: {spread(measured[shape, system])} ms per member-epoch")
        for system in [name for name in measures if name != "evodevo"]:
            found = ratios(measured[shape, "evodevo"], measured[shape, system])
            print(f"  EvoDevo / {NAMES[system]}: {spread(found)}")


if __name__ == "__main__":
    main()
