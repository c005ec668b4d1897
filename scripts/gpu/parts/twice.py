"""Launch the quickstart twice, in separate processes, and compare the results bit for bit.

history.csv is compared without attempts, workers and seconds; best.safetensors byte for byte. If the data
include the original MNIST, the runs train on 50,000 of its digits in batches of 500; otherwise on the 3,000
packaged digits of the quickstart.
"""

import csv
import json
import subprocess
import sys
import time
from pathlib import Path

from part import REPOSITORY, arguments, found


def history(run: Path) -> list[dict[str, str]]:
    """Return the rows of history.csv without the columns that differ from run to run."""
    with open(run / "history.csv", newline="", encoding="utf-8") as file:
        return [
            {
                name: value
                for name, value in row.items()
                if name not in ("attempt", "worker") and not ("." not in name and name.endswith("_s"))
            }
            for row in csv.DictReader(file)
        ]


def main() -> int:
    given = arguments(__doc__)
    settings = (
        {"search.population": 2, "search.generations": 1}
        if given.cpu
        else {"search.generations": 5, "cluster.device": "gpu"}
    )
    if (given.data / "mnist").is_dir():
        settings |= {"data.root": str(given.data.resolve()), "workload.options.batch_size": 500}
    options = [f"--set={key}={value}" for key, value in settings.items()]
    runs = []
    for name in ("first", "second"):
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "evodevo", "launch", "configs/quickstart.yaml", "--workers", "1",
             "--no-progress", "--runs-dir", str(given.work / name), *options],
            cwd=REPOSITORY,
            check=True,
        )  # fmt: skip
        runs.append(given.work / name / "quickstart")
        summary = json.loads((runs[-1] / "summary.json").read_text())
        found(
            run=name,
            launch_s=round(time.monotonic() - began, 1),
            run_s=summary["elapsed_s"],
            members=summary["members"],
            best_fom=summary["best_fom"],
            **summary["test_metrics"],
        )
    first, second = runs
    same_history = history(first) == history(second)
    same_best = (first / "best.safetensors").read_bytes() == (second / "best.safetensors").read_bytes()
    found(same_history=same_history, same_best=same_best)
    return 0 if same_history and same_best else 1


if __name__ == "__main__":
    sys.exit(main())
