"""Helpers of the benchmarks: options, facts about the machine, interleaving, medians and journal times."""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import evodevo

HERE = Path(__file__).resolve().parent
REPOSITORY = Path(evodevo.__file__).resolve().parents[1]
Kind = TypeVar("Kind")


def parser_for(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks share."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=at_least_one, default=5, help="interleaved runs (default: 5)")
    parser.add_argument("--out", type=Path, help="append each measurement to this file, as a line of JSON")
    parser.add_argument(
        "--dir", type=Path, help="existing directory for the runs' files (default: a temporary directory)"
    )
    return parser


def at_least_one(text: str) -> int:
    """Return the value of an option that counts something; refuse numbers below 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"should be 1 or more, not {text}")
    return int(text)


class Log:
    """A log that prints each measurement and appends it to the file of `--out`; facts come first."""

    def __init__(self, out: Path | None, **about: Any) -> None:
        self._out = out
        self._append({"about": machine() | about})
        for name, value in (machine() | about).items():
            print(f"{name}: {value}", flush=True)

    def add(self, **measured: Any) -> None:
        """Log one measurement, given as names and values."""
        self._append(measured)
        print("  ".join(f"{name} {_short(value)}" for name, value in measured.items()), flush=True)

    def _append(self, data: dict[str, Any]) -> None:
        if self._out is not None:
            with self._out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(data) + "\n")


def machine() -> dict[str, str]:
    """Return the hardware, versions, commit and load average, as text."""
    packages = ("evodevo", "torch", "dask", "distributed")
    return {
        "machine": f"{platform.machine()}, {_processor()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": ", ".join(
            [f"python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)]
        ),
        "commit": _git("describe", "--always", "--dirty") or "unknown",
        "load average before": f"{os.getloadavg()[0]:.2f}",
    }


def durable_write_ms(directory: Path) -> float:
    """Return the median time of 100 durable writes: write, fsync, rename, fsync of the directory."""
    times = []
    handle = os.open(directory, os.O_RDONLY)
    try:
        for number in range(100):
            began = time.monotonic()
            new = directory / f"durable-{number}.new"
            with new.open("wb") as file:
                file.write(bytes(1000))
                file.flush()
                os.fsync(file.fileno())
            new.rename(directory / "durable")
            os.fsync(handle)
            times.append(time.monotonic() - began)
    finally:
        os.close(handle)
    (directory / "durable").unlink()
    return 1000 * statistics.median(times)


@contextlib.contextmanager
def cluster(workers: int, runs_dir: Path) -> Iterator[evodevo.Client]:
    """Start a local cluster and wait for its workers, whose start is not measured."""
    with evodevo.local(workers=workers, runs_dir=runs_dir) as client:
        client.dask.wait_for_workers(workers)
        yield client


@contextlib.contextmanager
def runs_directory(within: Path | None) -> Iterator[Path]:
    """Make a temporary directory for runs, and let worker processes import the modules of this directory."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory(dir=within) as directory:
        yield Path(directory)


def interleaved(kinds: Sequence[Kind], runs: int) -> Iterator[tuple[int, Kind]]:
    """Yield (run, kind): each run has each kind once, and each begins with the next kind."""
    for run in range(runs):
        first = run % len(kinds)
        for kind in (*kinds[first:], *kinds[:first]):
            yield run, kind


def spread(values: Sequence[float]) -> str:
    """Return the median and the range of some measurements, as text."""
    return f"median {_short(statistics.median(values))} ({_short(min(values))} to {_short(max(values))})"


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Return the quotients of two lists of measurements, run by run."""
    return [one / other for one, other in zip(over, under, strict=True)]


def no_work_config(name: str, use: str, population: int, generations: int, **options: Any) -> dict[str, Any]:
    """Return the config of a tri-parent run of a class in no_work.py, without averaged parameters."""
    locus = {"type": "float", "low": 0.0, "high": 1.0, "initial": 0.3}
    return {
        "run": {"name": name},
        "workload": {"use": f"no_work:{use}", "options": options},
        "objective": {"metric": "validation_loss", "mode": "min"},
        "search": {
            "strategy": "tri_parent",
            "population": population,
            "generations": generations,
            "judge": "raw",
            "recombine": None,
            "soup": False,
            "loci": {"a": locus, "b": locus, "c": locus},
        },
    }


def records_of(run: Path) -> list[dict[str, Any]]:
    """Return the journal's records of a finished run."""
    return [json.loads(line) for line in (run / "journal.jsonl").read_text(encoding="utf-8").splitlines()]


def steady_span(records: Iterable[dict[str, Any]]) -> tuple[float, float]:
    """Return the times of the first births record and the last outcome record (seconds since the epoch).

    This excludes starting the cluster and checking the config, and the test evaluation and report at the end.
    """
    times = [(record["kind"], record["time"]) for record in records]
    born = min(time for kind, time in times if kind == "births")
    return born, max(time for kind, time in times if kind == "outcome")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def _git(*command: str) -> str:
    with contextlib.suppress(OSError):
        done = subprocess.run(["git", "-C", str(REPOSITORY), *command], capture_output=True, text=True)
        return done.stdout.strip()
    return ""
