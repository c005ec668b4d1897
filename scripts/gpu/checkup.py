#!/usr/bin/env python
"""Check and measure this repository on a GPU, in under 8 minutes, without a network.

    python scripts/gpu/checkup.py [--out DIR] [--parts NAME,...] [--cpu]

It needs Python 3.12, torch, a GPU, and scripts/gpu/packed, made by scripts/gpu/pack.sh. Each part is a
process with a time limit; if one fails, the others still run. DIR (default: $OUT, or checkup-results)
receives results.jsonl, with a line per finding and one for the end of each part; results.md, the same as
tables; and log.txt, the output of the parts. Exit status: 0 if all parts are done, 1 if one is not, 2 for
bad usage, 130 if interrupted.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
PACKED = HERE / "packed"
TOTAL_S = 470.0
"""Time limit of the whole checkup; the limit of a part is at most what is left of it."""
ON_CPU = 10
"""Factor of all time limits with --cpu, which only tries the checkup itself, maybe on a busy machine."""
TAG = "CHECKUP_TAG"
"""Environment variable of all processes of a checkup, by which those that outlive their part are found."""
GRACE_S = 5.0
"""Seconds between SIGTERM and SIGKILL."""


@dataclass(frozen=True)
class Part:
    name: str
    command: tuple[str, ...]
    """A script in `parts/` and its arguments."""
    limit_s: float


PARTS = (
    Part("machine", ("machine.py",), 40),
    Part("install", ("install.py", str(PACKED / "wheels"), "{site}"), 40),
    Part("unpack", ("unpack.py", str(PACKED / "data")), 60),
    Part("tests", ("marked.py",), 80),
    Part("members-resnet20", ("members.py", "resnet20"), 60),
    Part("members-lenet", ("members.py", "lenet"), 40),
    Part("members-capsnet", ("members.py", "capsnet"), 40),
    Part("inherit", ("inherit.py",), 30),
    Part("epochs-nmt", ("epochs.py", "nmt"), 30),
    Part("epochs-detector", ("epochs.py", "detector"), 30),
    Part("twice", ("twice.py",), 90),
    Part("population", ("population.py",), TOTAL_S),  # uses the time that is left
)
ALWAYS = ("machine", "install", "unpack")


class Results:
    """The files of a checkup's output directory."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.lines = directory / "results.jsonl"
        self.tables = directory / "results.md"
        self.log = directory / "log.txt"

    def add(self, part: str, **facts: Any) -> None:
        with open(self.lines, "a+b") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
            torn = file.read() not in (b"", b"\n")  # by a part that was killed
            file.write((b"\n" if torn else b"") + json.dumps({"part": part, **facts}).encode() + b"\n")
        self.tables.write_text(as_tables(self.read()), encoding="utf-8")

    def read(self) -> list[dict[str, Any]]:
        """Return all findings, without a line that a killed part left unfinished."""
        found = []
        for line in self.lines.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                found.append(json.loads(line))
        return found


def as_tables(results: Sequence[dict[str, Any]]) -> str:
    """Return the results as Markdown, with a heading and a table for each part."""
    text = []
    for part in dict.fromkeys(one["part"] for one in results):
        own = [one for one in results if one["part"] == part]
        ends = [f"{one['status']}, {one['seconds']:.1f} s" for one in own if "status" in one]
        text.append(f"## {part}: {ends[0] if ends else 'at work'}\n")
        rows = [one for one in own if "status" not in one]
        columns = list(dict.fromkeys(name for one in rows for name in one if name != "part"))
        if len(rows) == 1:  # facts, one below the other
            text.append("".join(f"- {name}: {_cell(rows[0].get(name))}\n" for name in columns))
        elif rows:
            table = [columns, ["---"] * len(columns)]
            table += [[_cell(one.get(name)) for name in columns] for one in rows]
            text.append("".join(f"| {' | '.join(row)} |\n" for row in table))
        text += [f"```\n{one['said']}\n```\n" for one in own if one.get("said")]
    return "\n".join(text)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")


def carry_out(
    part: Part, command: Sequence[str], limit_s: float, results: Results, env: dict[str, str]
) -> bool:
    """Run a part for at most `limit_s` and add its status to the results; return whether it is done."""
    began = time.monotonic()
    with open(results.log, "a+b") as log:
        log.write(f"\n=== {part.name}\n".encode())
        log.flush()
        start = log.tell()
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**env, "CHECKUP_PART": part.name, "CHECKUP_RESULTS": str(results.lines)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(limit_s)
            status = "failed" if process.returncode else "done"
        except subprocess.TimeoutExpired:
            status = "out of time"
        finally:
            end(process, env[TAG])
        log.seek(start)
        said = log.read().decode(errors="replace").strip().splitlines()[-15:]
    facts = {"exit": process.returncode, "said": "\n".join(said)} if status != "done" else {}
    results.add(part.name, status=status, seconds=round(time.monotonic() - began, 1), **facts)
    return status == "done"


def end(process: subprocess.Popen[bytes], tag: str) -> None:
    """End a part and all its descendants, including those in other process groups."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # the process ended meanwhile, or belongs to another user
            if f"{TAG}={tag}".encode() in environment.read_bytes().split(b"\0"):
                os.kill(int(environment.parent.name), signal.SIGKILL)


def chosen(names: str | None) -> list[Part]:
    """Return the parts named in a list such as `tests,epochs`, and those that always run.

    A name also selects the parts that it begins: `epochs` is `epochs-nmt` and `epochs-detector`. Raises
    `ValueError` for an unknown name.
    """
    if names is None:
        return list(PARTS)
    wanted = set()
    for name in names.split(","):
        own = {part.name for part in PARTS if part.name == name or part.name.startswith(f"{name}-")}
        if not own:
            raise ValueError(
                f"--parts: unknown part {name!r}; available: {', '.join(part.name for part in PARTS)}"
            )
        wanted |= own
    return [part for part in PARTS if part.name in wanted or part.name in ALWAYS]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="Directory for the results.")
    parser.add_argument("--parts", metavar="NAME,...", help="Run only these parts.")
    parser.add_argument("--data", metavar="DIR", type=Path, help="Directory of unpacked data sets.")
    parser.add_argument("--cpu", action="store_true", help="Try a tiny version of each part without a GPU.")
    given = parser.parse_args(arguments)
    try:
        parts = chosen(given.parts)
    except ValueError as why:
        parser.error(str(why))
    if given.data is None and not PACKED.is_dir():
        parser.error(f"{PACKED} does not exist: make it with scripts/gpu/pack.sh, or give --data DIR")
    results = Results((given.out or Path(os.environ.get("OUT") or "checkup-results")).resolve())
    if results.lines.exists():
        parser.error(f"{results.lines} exists: give another --out")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the current part is ended
    work = Path(tempfile.mkdtemp(prefix="checkup-"))
    try:
        return check_up(parts, results, work, given.data, given.cpu)
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(work, ignore_errors=True)


def check_up(parts: Sequence[Part], results: Results, work: Path, data: Path | None, cpu: bool) -> int:
    site = work / "site"
    env = {
        **os.environ,
        TAG: uuid.uuid4().hex,
        "PYTHONPATH": os.pathsep.join(
            [str(REPOSITORY), str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
        ),
        "PYTHONUNBUFFERED": "1",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # deterministic matrix products, as in workers.preload
    }
    if cpu:
        env |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = True
    longer = ON_CPU if cpu else 1
    deadline = time.monotonic() + longer * TOTAL_S
    for part in parts:
        if part.name == "unpack" and data is not None:
            continue
        left = deadline - time.monotonic()
        if left < 1:
            results.add(part.name, status="no time left", seconds=0.0)
            done = False
            continue
        own = work / part.name
        own.mkdir()
        script, *names = (word.format(site=site) for word in part.command)
        limit_s = min(longer * part.limit_s, left)
        command = [sys.executable, str(HERE / "parts" / script), *names, "--work", str(own)]
        command += ["--data", str((data or work / "data").resolve()), "--limit-s", f"{limit_s:.0f}"]
        done = carry_out(part, [*command, *(["--cpu"] if cpu else [])], limit_s, results, env) and done
        print(f"{part.name}: {results.read()[-1]['status']}", flush=True)
    print(f"\n{results.tables.read_text(encoding='utf-8')}")
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
