"""Commit the faults that EvoDevo should survive, and print what came of each kind.

    python scripts/bench/faults.py [--quick] [--only ROW ...] [--out faults.jsonl] [--seed 0]

For each kind of fault: how often it was committed; how many of these the run survived (where the right
answer is an error: it was one clear message); how often the history was that of a run to which nothing
happened (each row of history.csv and the sha256 of each checkpoint); and seconds from the fault, or from its
end if it lasts, until all members that were at work then have their outcomes. That includes the start of new
processes.

Processes and signals are real. With `--out` each trial is kept in a file as it is made; the same command
carries on, and tries again what went wrong. A fault that needs what this machine does not have (root for
mounts and network namespaces, a C compiler for the clock) is "not run". Exit status 1 if anything went wrong.
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
from measuring import machine

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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a few trials of most rows, in under 3 minutes")
    parser.add_argument("--only", nargs="+", choices=[row.name for row in ROWS], metavar="ROW",
                        help=f"of {', '.join(row.name for row in ROWS)}")  # fmt: skip
    parser.add_argument("--out", type=Path, help="keep results in this file, and carry on from those there")
    parser.add_argument(
        "--dir",
        type=Path,
        help="existing directory for files, which keeps those of trials that went wrong",
    )
    parser.add_argument("--lanes", type=int, default=2, help="trials at a time (default: 2)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default: 0)")
    options = parser.parse_args()
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


def environment() -> dict[str, str]:
    """Variables for the processes of all trials."""
    paths = [str(BENCH), str(BENCH.parents[1]), str(BENCH.parents[1] / "tests")]
    return {
        "PYTHONPATH": os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])]),
        "DASK_DISTRIBUTED__WORKER__DAEMON": "False",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


if __name__ == "__main__":
    main()
