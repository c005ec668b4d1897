"""Compare evodevo with searches of other libraries: same workload, same number of epochs, same test data.

    python scripts/bench/peers.py CONFIG [--peers ray_pbt,ray_pb2,optuna_tpe,...] [--seeds 8] [--jobs 2]
        --ray-python ray/bin/python --optuna-python optuna/bin/python [--against tri_parent] [--table]

Each peer trains members of the config's workload class (in one thread, on the CPU, without averaged
parameters) until population x epochs member-epochs are spent. It sees only validation data and is judged on
test data by the checkpoint with the best validation result after any epoch. That favours the peers: evodevo's
runs deliver their best member at the end of a generation.

ray_pbt            Ray Tune's population based training (settings: see peer_ray.py)
ray_pb2            Ray Tune's population based bandits
optuna_tpe         Optuna's TPE with Hyperband pruning (peer_optuna.py) and constant hyperparameters
optuna_tpe_cosine  the same with a learning rate that follows a cosine from the searched value to zero
optuna_halving     successive halving over random values, with the same cosine, judged by averaged weights

Each run is a separate process, and its result is appended to DIR/NAME-compare/peers.jsonl; the same command
resumes with what is missing. In the same DIR, `evodevo compare CONFIG --arms tri_parent` makes the runs that
`--against tri_parent` compares with, seed by seed. `--table` only prints the results so far.

Create the peers' environments (here `ray` and `optuna`) once, in the checkout, from which they import:

    python -m venv ray
    ray/bin/pip install -c constraints.txt -r scripts/bench/peers-ray.txt ".[workloads]"
    python -m venv optuna
    optuna/bin/pip install -c constraints.txt -r scripts/bench/peers-optuna.txt ".[workloads]"
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from measuring import at_least_one
from peer_search import PEERS, as_it_was, budget_of, check, digest_of
from peer_table import lines_of

from evodevo.config import RunConfig
from evodevo.config_file import load, parse_override
from evodevo.errors import RunFailed, UsageError
from evodevo.service.comparison import directory_of, plan

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
LIBRARY = {peer: peer.partition("_")[0] for peer in PEERS}
"""Each peer's library; `peer_<library>.py` runs it."""
NEEDS = {"ray": "ray.tune, sklearn", "optuna": "optuna"}
RESULTS = "peers.jsonl"
POLL_S = 0.2
TAIL_LINES = 15

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Running:
    peer: str
    seed: int
    process: "subprocess.Popen[bytes]"
    told: IO[bytes]
    began: float


def read_records(path: Path, digest: str) -> tuple[dict[tuple[str, int], Record], int]:
    """Return the finished runs of a config by peer and seed, and the number of lines of other configs.

    Of several lines for one run the first counts; a truncated line is ignored.
    """
    found: dict[tuple[str, int], Record] = {}
    others = 0
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record["digest"] != digest:
            others += 1
        else:
            found.setdefault((record["peer"], record["seed"]), record)
    return found, others


def append(path: Path, record: Record) -> None:
    """Append a record as a line, after ending a truncated last line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
        torn = end > 0 and file.read(1) != b"\n"
        file.write(b"\n" * torn + json.dumps(record).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def environment() -> dict[str, str]:
    """Return a peer's environment: evodevo comes from this checkout, users' modules from the current one."""
    given = os.environ.get("PYTHONPATH")
    places = [str(REPOSITORY), str(HERE), *([given] if given else []), os.getcwd()]
    threads = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(places)}


def check_python(python: str, library: str) -> None:
    """Raise `UsageError` if a Python interpreter lacks what the library's peers import."""
    option, code = f"--{library}-python", f"import {NEEDS[library]}, torch, pydantic, distributed"
    try:
        told = subprocess.run([python, "-c", code], env=environment(), capture_output=True, text=True)
    except OSError as why:
        raise UsageError(f"{option} {python}: {why.strerror}") from None
    if told.returncode:
        tail = told.stderr.strip().splitlines()[-1:] or [f"exit status {told.returncode}"]
        raise UsageError(
            f"{option} {python}: {tail[0]}; name the Python of an environment created as "
            f"{Path(__file__).name} --help describes"
        )


def start(config: RunConfig, peer: str, seed: int, python: str, within: Path) -> Running:
    """Start a run in a new directory; a leash ends it when this process ends, even by a crash."""
    directory = within / f"{peer}-{seed}"
    directory.mkdir()
    task = {"peer": peer, "config": as_it_was(config, seed).to_json()}
    (directory / "task.json").write_text(json.dumps(task), encoding="utf-8")
    leash = [sys.executable, "-m", "workers.leash", str(os.getpid())]
    told = (directory / "told").open("w+b")
    process = subprocess.Popen(
        [*leash, python, str(HERE / f"peer_{LIBRARY[peer]}.py"), str(directory)],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=told,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    return Running(peer, seed, process, told, time.monotonic())


def outcome(run: Running) -> dict[str, Any]:
    """Return the result of a finished run. Raises `RunFailed` if it failed, `UsageError` for bad input."""
    run.told.seek(0)
    lines = run.told.read().decode(errors="replace").strip().splitlines()
    run.told.close()
    status = run.process.returncode
    if status == 2 and lines:
        raise UsageError(f"{run.peer}: {lines[-1]}")
    if status:
        tail = "\n  ".join(lines[-TAIL_LINES:])
        raise RunFailed(f"{run.peer}, seed {run.seed}, failed with exit status {status}:\n  {tail}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def carry_out(
    config: RunConfig, missing: Sequence[tuple[str, int]], pythons: Mapping[str, str], jobs: int
) -> Iterator[dict[str, Any] | RunFailed]:
    """Yield each run's record, or its `RunFailed`, as it ends; a failure skips the peer's other runs."""
    waiting, running, failed = list(missing), list[Running](), set[str]()
    about = {"config": config.run.name, "digest": digest_of(config)}
    with tempfile.TemporaryDirectory(prefix="peers-") as directory:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    peer, seed = waiting.pop(0)
                    running.append(start(config, peer, seed, pythons[LIBRARY[peer]], Path(directory)))
                for run in [one for one in running if one.process.poll() is not None]:
                    running.remove(run)
                    seconds = time.monotonic() - run.began
                    try:
                        found = outcome(run)
                    except RunFailed as why:
                        failed.add(run.peer)
                        waiting = [one for one in waiting if one[0] not in failed]
                        yield why
                        continue
                    yield {**about, "peer": run.peer, "seed": run.seed, **found, "seconds": seconds}
                time.sleep(POLL_S)
        finally:
            for run in running:
                run.process.terminate()
            for run in running:
                run.process.wait()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("config", metavar="CONFIG")
    add("--peers", default=",".join(PEERS), help="separated by commas (default: %(default)s)")
    add("--seeds", type=at_least_one, default=8, help="number of seeds, starting at --seed (default: 8)")
    add("--seed", type=int, help="first seed (default: the config's run.seed)")
    add("--jobs", type=at_least_one, default=1, help="concurrent runs (default: 1)")
    add("--runs-dir", type=Path, default=Path("checkpoints"), metavar="DIR", help="default: %(default)s")
    add("--ray-python", default=sys.executable, metavar="PYTHON", help="Python that has Ray Tune")
    add("--optuna-python", default=sys.executable, metavar="PYTHON", help="Python that has Optuna")
    add("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE", help="set a config key")
    add("--against", default="", metavar="ARMS", help="arms of `evodevo compare`, separated by commas")
    add("--table", action="store_true", help="run nothing, only print the results so far")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> None:
    overrides = dict(parse_override(text) for text in options.overrides)
    if options.seed is not None:
        overrides["run.seed"] = options.seed
    config = load(options.config, overrides)
    peers = options.peers.split(",")
    check(config, peers)
    seeds = range(config.run.seed, config.run.seed + options.seeds)
    path = directory_of(config, options.runs_dir) / RESULTS
    records, others = read_records(path, digest_of(config))
    if others:
        print(f"{path}: ignored {others} lines of another config", flush=True)
    wanted = [(peer, seed) for seed in seeds for peer in peers]
    missing = [one for one in wanted if one not in records and not options.table]
    arms = [arm for arm in options.against.split(",") if arm]
    for arm in arms:
        plan(config, [arm], options.seeds)  # refuse bad arms now rather than after hours
    pythons = {"ray": options.ray_python, "optuna": options.optuna_python}
    for library in dict.fromkeys(LIBRARY[peer] for peer, _ in missing):
        check_python(pythons[library], library)
    failures = []
    for record in carry_out(config, missing, pythons, options.jobs) if missing else ():
        if isinstance(record, RunFailed):
            failures.append(record)
            print(record, file=sys.stderr, flush=True)
            continue
        append(path, record)
        records[record["peer"], record["seed"]] = record
        print(f"{record['peer']}, seed {record['seed']}: done in {record['seconds']:.0f} s", flush=True)
    done = [records[one] for one in wanted if one in records]
    for line in lines_of(config, budget_of(config), done, arms, options.seeds, options.runs_dir):
        print(line)
    if failures:
        sys.exit(1)


def main(arguments: Sequence[str] | None = None) -> None:
    sys.path.append(os.getcwd())  # for a user's strategy
    try:
        _run(_options(arguments))
    except UsageError as why:
        print(f"peers.py: {why}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # ends the peers, too
    main()
