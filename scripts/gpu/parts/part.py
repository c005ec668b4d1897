"""Helpers of the parts of the checkup: their arguments, and the file for their findings."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]


def arguments(what: str | None) -> argparse.Namespace:
    """Parse the command line of a part; `names` are its positional arguments."""
    parser = argparse.ArgumentParser(description=what, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--data", type=Path, default=Path("data"), help="The unpacked data sets.")
    parser.add_argument(
        "--work", type=Path, default=Path("checkup-work"), help="Directory for temporary files."
    )
    parser.add_argument("--limit-s", type=float, default=120.0, help="Time limit of the part in seconds.")
    parser.add_argument("--cpu", action="store_true", help="Run a tiny version without a GPU.")
    return parser.parse_args()


def found(**facts: Any) -> None:
    """Append one finding to the results of the checkup, or print it if the part was started by hand."""
    line = json.dumps({"part": os.environ.get("CHECKUP_PART", "by hand"), **facts}) + "\n"
    if results := os.environ.get("CHECKUP_RESULTS"):
        with open(results, "a", encoding="utf-8") as file:
            file.write(line)
    else:
        sys.stdout.write(line)
