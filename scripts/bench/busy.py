"""Measure how busy workers are when epochs differ in length, for each pace of births.

    python scripts/bench/busy.py [--paces generations pools:8 pools:4 steady] [--runs 5] [--out busy.jsonl]

32 members on 8 local worker processes. Epochs only sleep, for log-normal times (sigma 0.5, mean 1 s) drawn
with each member's training seed. A pace is a value of `search.pace`; `pools:8` also sets `search.pool`, and
`generations` sets neither key.

A member occupies its worker for the seconds in its row of history.csv (load, train, eval, save) that end
when its outcome is journaled. The busy fraction is the sum of these seconds over workers x wall time, from
the first births record

busy   to the outcome after which fewer unfinished members are left in the run than there are workers. Until
       then a search that never waits could use all workers; after that (the drain) no search could
whole  to the last outcome, including the drain
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

from measuring import (
    Log,
    cluster,
    interleaved,
    no_work_config,
    parser_for,
    records_of,
    runs_directory,
    spread,
    steady_span,
)

import evodevo

PARTS = ("load_s", "train_s", "eval_s", "save_s")
Pace = tuple[str, int | None]
Stay = tuple[float, float]
"""Start and end of a member's time on its worker, in seconds since the epoch."""


def drain_begins(stays: Sequence[Stay], workers: int) -> float:
    """Return the time of the outcome after which fewer members than workers are left."""
    return sorted(end for _, end in stays)[max(0, len(stays) - workers)]


def busy_share(stays: Sequence[Stay], workers: int, began: float, until: float) -> float:
    """Return the fraction of the workers' time from `began` to `until` that the members occupied."""
    taken = sum(max(0.0, min(end, until) - max(start, began)) for start, end in stays)
    return taken / (workers * (until - began))


def stays_of(run: Path) -> list[Stay]:
    """Return each member's time on its worker, from the files of a finished run."""
    ended = {record["member"]: record["time"] for record in records_of(run) if record["kind"] == "outcome"}
    with (run / "history.csv").open(encoding="utf-8", newline="") as file:
        taken = {row["member"]: sum(float(row[part]) for part in PARTS) for row in csv.DictReader(file)}
    return [(ended[member] - seconds, ended[member]) for member, seconds in taken.items()]


def _pace(text: str) -> Pace:
    name, colon, pool = text.partition(":")
    if colon and not pool.isdigit():
        raise argparse.ArgumentTypeError(f"should have the form pools:8, not {text!r}")
    return name, int(pool) if colon else None


def _label(pace: Pace) -> str:
    return pace[0] if pace[1] is None else f"{pace[0]}:{pace[1]}"


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument(
        "--paces",
        type=_pace,
        nargs="+",
        default=[("generations", None), ("pools", 8), ("pools", 4), ("steady", None)],
        metavar="PACE",
    )
    parser.add_argument("--population", type=int, default=32)
    parser.add_argument("--generations", type=int, default=10)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--mean-s", type=float, default=1.0, help="mean seconds of an epoch (default: 1)")
    parser.add_argument(
        "--sigma", type=float, default=0.5, help="standard deviation of the logarithm (default: 0.5)"
    )
    options = parser.parse_args()
    shares: dict[Pace, list[tuple[float, float]]] = {pace: [] for pace in options.paces}
    with (
        runs_directory(options.dir) as runs_dir,
        cluster(options.workers, runs_dir) as client,
    ):
        log = Log(options.out, workers=options.workers, population=options.population)
        warm_up = no_work_config("warm-up", "Sleep", 4 * options.workers, 1, mean_s=0.1)
        client.submit(warm_up).wait()
        for run, pace in interleaved(options.paces, options.runs):
            name = f"busy-{run}-{'-'.join(_label(pace).split(':'))}"
            config = no_work_config(
                name,
                "Sleep",
                options.population,
                options.generations,
                mean_s=options.mean_s,
                sigma=options.sigma,
            )
            config["run"]["seed"] = run
            if pace[0] != "generations":
                config["search"]["pace"] = pace[0]
            if pace[1] is not None:
                config["search"]["pool"] = pace[1]
            try:
                client.submit(config).wait()
            except evodevo.UsageError as why:
                parser.error(f"--paces {_label(pace)}: {why}")
            began, ended = steady_span(records_of(runs_dir / name))
            stays = stays_of(runs_dir / name)
            drain = drain_begins(stays, options.workers)
            busy = busy_share(stays, options.workers, began, drain)
            whole = busy_share(stays, options.workers, began, ended)
            shares[pace].append((busy, whole))
            log.add(
                run=run,
                pace=_label(pace),
                busy=busy,
                whole=whole,
                wall_s=ended - began,
                drain_s=ended - drain,
                members=len(stays),
            )
    print(f"\n{options.population} members on {options.workers} workers, {options.generations} generations")
    for pace, found in shares.items():
        busy_shares, whole_shares = zip(*found, strict=True)
        print(f"  {_label(pace)}: busy {spread(busy_shares)}, with the drain {spread(whole_shares)}")
    first = options.paces[0]
    for pace in options.paces[1:]:
        gains = [one[0] / other[0] for one, other in zip(shares[pace], shares[first], strict=True)]
        print(f"  {_label(pace)} / {_label(first)}: {spread(gains)}")


if __name__ == "__main__":
    main()
