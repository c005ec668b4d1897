"""Inject the faults that EvoDevo should survive, and print the result for each kind.

    python scripts/bench/faults.py [--quick] [--only ROW ...] [--out faults.jsonl] [--seed 0]

For each kind of fault the table has: how often it was injected; how many of these the run survived (if the
correct response is an error: was one clear message); how often the history was that of an undisturbed run
(each row of history.csv and the sha256 of each checkpoint); and the seconds from the fault, or from its end
if it lasts, until all members that were in progress have their outcomes. That includes starting new
processes.

Processes and signals are real. With `--out` each trial is written to a file when it ends; the same command
resumes from there and repeats the trials that failed. A fault whose prerequisites are missing (root for
mounts and network namespaces, a C compiler for the clock) is reported as "not run". The exit status is 1 if
any trial failed.
"""

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from harness import clocks, damage, disks, fuzzing, kills, others, remote, sick, soak
from harness.processes import BENCH, Zygote
from harness.trials import Lab, Results, Row, carry_out, table, went_wrong
from measuring import at_least_one, machine

ROWS: tuple[Row, ...] = (
    *soak.ROWS,
    *kills.ROWS,
    *sick.ROWS,
    *disks.ROWS,
    *damage.ROWS,
    *remote.ROWS,
    *clocks.ROWS,
    *others.ROWS,
    *fuzzing.ROWS,
)


def main() -> None:
    """Run the trials of the chosen rows and print the table."""
    options = _parser().parse_args()
    rows = [row for row in ROWS if options.only is None or row.name in options.only]
    if options.quick:
        rows = [row for row in rows if row.quick]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    results = Results(options.out)
    results.note({"about": machine(), "seed": options.seed})
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        directory = options.dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
        os.environ.update(environment())
        zygote = Zygote()
        stack.callback(zygote.end)
        lab = Lab(zygote, directory.absolute(), options.quick, options.seed)
        try:
            carry_out(rows, lab, results, options.lanes, lambda text: print(text, flush=True))
        except KeyboardInterrupt:
            sys.exit(130)
    print(f"\nseed {options.seed}, {time.monotonic() - began:.0f} s\n\n{table(rows, results)}")
    sys.exit(bool(went_wrong(rows, results)))


def _parser() -> argparse.ArgumentParser:
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="run a few trials of most rows, in under 3 minutes")
    add("--only", nargs="+", choices=names, metavar="ROW", help=f"run only these rows: {', '.join(names)}")
    add("--out", type=Path, help="write results to this file and resume from those in it")
    add("--dir", type=Path, help="existing directory for the trials' files; those of failed trials are kept")
    add("--lanes", type=at_least_one, default=2, help="concurrent trials (default: 2)")
    add("--seed", type=int, default=0, help="random seed (default: 0)")
    return parser


def environment() -> dict[str, str]:
    """Return the environment variables for the processes of all trials."""
    paths = [str(BENCH), str(BENCH.parents[1]), str(BENCH.parents[1] / "tests")]
    return {
        "PYTHONPATH": os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])]),
        "DASK_DISTRIBUTED__WORKER__DAEMON": "False",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


if __name__ == "__main__":
    main()
