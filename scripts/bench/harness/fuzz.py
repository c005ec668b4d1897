"""Mutated files for everything that reads files: each must be accepted or refused in one message, in 2 s.

A case is determined by its number, which is the seed of `tests/mutations.py`. Trials are batches of cases;
each batch is a process, of which `main` is the main function.
"""

import contextlib
import hashlib
import json
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch  # noqa: F401 (so that no case is charged with the import)

from evodevo import yaml_text
from evodevo.config_file import load
from evodevo.errors import UsageError
from evodevo.report.products import write_products
from evodevo.report.schedule import Schedule
from evodevo.report.summary import summary_lines, summary_of
from evodevo.report.tables import history_csv
from evodevo.run.history import load_history
from evodevo.run.journal import JournalError, Tail, encode
from evodevo.run.setup import job_of
from evodevo.run.verify import verify
from evodevo.run.view import FileSource, View
from evodevo.service.export import export
from harness.processes import BENCH
from harness.stories import JOURNAL

ROOT = BENCH.parents[1]
sys.path.append(str(ROOT))
from tests.mutations import change, mutated, mutated_records  # noqa: E402

HANG_S, BLOCKED_S = 2.0, 60.0
"""Limits of a case, in CPU seconds and in wall seconds."""
CONFIGS = (
    "configs/quickstart.yaml",
    "configs/resnet20.yaml",
    "configs/small/characters.yaml",
    "configs/small/detector-evolve.yaml",
    "configs/small/detector.yaml",
    "examples/program.yaml",
)
REFUSALS = (UsageError, JournalError)


class Hang(BaseException):
    """A case took too long."""


Case = Callable[[random.Random], None]
"""Makes and reads one file; raises one of `REFUSALS` if it is refused."""


def config_case(directory: Path, sample: Path) -> Case:
    good = [yaml_text.load((ROOT / name).read_text(encoding="utf-8")) for name in CONFIGS]
    path = directory / "config.yaml"

    def case(chance: random.Random) -> None:
        path.write_text(mutated(chance.choice(good), chance), encoding="utf-8", errors="surrogatepass")
        config = load(path)
        config.strategy()
        job_of(config, directory / "run")

    return case


def hyp_case(directory: Path, sample: Path) -> Case:
    good = yaml_text.load((ROOT / "configs" / "hyp.yaml").read_text(encoding="utf-8"))
    config = yaml_text.load((ROOT / "configs/small/detector-evolve.yaml").read_text(encoding="utf-8"))
    path, hyp = directory / "config.yaml", directory / "hyp.yaml"
    config["search"]["hyp"] = str(hyp)
    path.write_text(yaml_text.dump(config))

    def case(chance: random.Random) -> None:
        hyp.write_text(mutated(good, chance), encoding="utf-8", errors="surrogatepass")
        load(path).strategy()

    return case


def schedule_case(directory: Path, sample: Path) -> Case:
    good = yaml_text.load((sample / "schedule.yaml").read_text(encoding="utf-8"))
    path = directory / "schedule.yaml"

    def case(chance: random.Random) -> None:
        path.write_text(mutated(good, chance), encoding="utf-8", errors="surrogatepass")
        schedule = Schedule.load(path)
        for epoch in range(min(schedule.epochs, 10)):
            schedule.at(epoch)

    return case


def journal_case(directory: Path, sample: Path) -> Case:
    """Read the run in every way: list, tables, summary, schedule, `verify`, and in 5 % of cases plots."""
    records = Tail(sample / JOURNAL).read()
    run = directory / "run"
    run.mkdir(exist_ok=True)

    def case(chance: random.Random) -> None:
        shutil.rmtree(run)
        run.mkdir()
        (run / JOURNAL).write_bytes(b"".join(map(encode, mutated_records(records, chance))))
        try:
            View("run", FileSource(run)).refresh()
            history = load_history(run / JOURNAL)
            history_csv(history)
            json.dumps(summary_of(history))
            summary_lines(history)
            if history.best:
                Schedule.of(history, history.best).to_yaml()
            verify(run)
        finally:
            assert [path.name for path in run.iterdir()] == [JOURNAL], "reading has written a file"
        if chance.random() < 0.05:
            write_products(run)

    return case


def checkpoint_case(directory: Path, sample: Path) -> Case:
    """Replace the best member's checkpoint by a mutated one whose size and sha256 the journal has."""
    records = Tail(sample / JOURNAL).read()
    best = load_history(sample / JOURNAL).best
    assert best is not None and best.outcome is not None and best.outcome.checkpoint is not None
    name = best.outcome.checkpoint.name
    data = (sample / "params" / name).read_bytes()
    run = directory / "run"
    (run / "params").mkdir(parents=True, exist_ok=True)
    out = directory / "out.safetensors"

    def case(chance: random.Random) -> None:
        made = mutated_checkpoint(data, chance)
        (run / "params" / name).write_bytes(made)
        told = json.loads(json.dumps(records))
        for record in told:
            found = record.get("outcome", {}).get("checkpoint")
            if found and found["name"] == name:
                found.update(size_bytes=len(made), sha256=hashlib.sha256(made).hexdigest())
        lines = [{key: value for key, value in record.items() if key != "crc"} for record in told]
        (run / JOURNAL).write_bytes(b"".join(map(encode, lines)))
        try:
            export(run, out)
        except REFUSALS:
            assert not out.exists(), "a file was written of what was refused"
            raise
        out.unlink()

    return case


def mutated_checkpoint(data: bytes, chance: random.Random) -> bytes:
    """Return a safetensors file with a change to its bytes, its header or evodevo's entry in the header."""
    length = int.from_bytes(data[:8], "little")
    match chance.randrange(8):
        case 0:
            return data[: chance.randrange(len(data))]
        case 1:
            at = chance.randrange(len(data))
            return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        case 2:
            return (
                chance.choice((0, 7, length - 1, length + 1, 2**40, 2**63)).to_bytes(8, "little") + data[8:]
            )
        case 3:
            at = chance.randrange(len(data))
            return data[:at] + chance.randbytes(chance.randrange(1, 100)) + data[at:]
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    if chance.random() < 0.7:
        inner = header["__metadata__"]
        key = chance.choice(list(inner))
        about = json.loads(inner[key])
        with contextlib.suppress(IndexError):
            change(about, chance)
        inner[key] = json.dumps(about, default=str)
    else:
        change(header, chance)
    text = json.dumps(header, default=str).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


KINDS: dict[str, Callable[[Path, Path], Case]] = {
    "configs": config_case,
    "journals": journal_case,
    "checkpoints": checkpoint_case,
    "schedules": schedule_case,
    "hyps": hyp_case,
}


def main(arguments: list[str]) -> None:
    """Try the cases of `KIND FIRST LAST DIRECTORY SAMPLE OUT` and write the results to OUT as JSON."""
    kind, first, last, directory, sample, out = arguments
    found = attempt(kind, range(int(first), int(last)), Path(directory), Path(sample))
    Path(out).write_text(json.dumps(found))


def attempt(kind: str, seeds: range, directory: Path, sample: Path) -> dict[str, Any]:
    """Return how many cases were accepted and refused, and by seed what went wrong with the others."""
    case = KINDS[kind](directory, sample)
    accepted, refused, wrong = 0, 0, {}
    known = {"config.yaml", "hyp.yaml", "schedule.yaml", "run"}
    for seed in seeds:
        problem = _problem(case, seed)
        if problem is None:
            accepted += 1
        elif problem == "refused":
            refused += 1
        else:
            wrong[str(seed)] = problem
        if left := {path.name for path in directory.iterdir()} - known:
            wrong[str(seed)] = f"left {', '.join(sorted(left))}"
            known |= left
    return {"accepted": accepted, "refused": refused, "wrong": wrong}


def _problem(case: Case, seed: int) -> str | None:
    try:
        with _limit():
            case(random.Random(seed))
    except REFUSALS as why:
        return "refused" if str(why).strip() else "refused without a message"
    except Hang:
        return f"Hang: more than {HANG_S:g} s"
    except BaseException as why:
        trace = traceback.extract_tb(why.__traceback__)[-3:]
        where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(trace))
        return f"{type(why).__name__}: {str(why)[:200]} ({where})"
    return None


@contextlib.contextmanager
def _limit() -> Iterator[None]:
    began, began_s = time.monotonic(), time.process_time()

    def ring(*_: object) -> None:
        if time.process_time() - began_s >= HANG_S or time.monotonic() - began >= BLOCKED_S:
            raise Hang
        signal.setitimer(signal.ITIMER_REAL, HANG_S)  # other processes had the CPU

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, HANG_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
