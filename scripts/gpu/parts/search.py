"""Train ResNet-20 with 16 members for as many epochs as fit, tri-parent beside cosine, on one worker.

The config is configs/small/resnet20.yaml with whole images. The tri-parent run takes a fraction of the part's
time and ends with a generation; the cosine has as many generations, so that its schedule is complete.
"""

import copy
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from part import REPOSITORY, arguments, found

import evodevo

POPULATION = 16
OPTIONS = {
    "batch_size": 128,
    "pixels": 32,
    "train_examples": 5000,
    "validation_examples": 2000,
    "test_examples": 2000,
}
TINY = {
    "batch_size": 16,
    "pixels": 16,
    "train_examples": 32,
    "validation_examples": 20,
    "test_examples": 20,
}
START_AND_END_S = 45.0
"""Set aside for the start of the cluster, the checks of two configs, two tests and two reports."""
SAFETY = 0.42
"""Fraction of the rest for the first run: the second takes as long, and the first ends with a generation."""


def config(name: str, root: Path, cpu: bool, **search: Any) -> dict[str, Any]:
    text = (REPOSITORY / "configs" / "small" / "resnet20.yaml").read_text(encoding="utf-8")
    made: dict[str, Any] = copy.deepcopy(yaml.safe_load(text))
    made["run"]["name"] = name
    made["workload"]["options"] = TINY if cpu else OPTIONS
    made["search"].update(population=2 if cpu else POPULATION, epochs=None, **search)
    made["data"]["root"] = str(root)
    made["cluster"] = {"workers": 1, "threads_per_member": 1, "device": "any" if cpu else "gpu"}
    return made


def carry_out(client: evodevo.Client, wanted: dict[str, Any]) -> int:
    """Carry out a run and report it; return its number of complete generations."""
    began = time.monotonic()
    run = client.submit(wanted)
    status = run.wait()
    best = run.best
    assert best is not None
    found(
        run=status.name,
        generations=status.generation,
        members=len(run.history()),
        seconds=round(time.monotonic() - began, 1),
        best_fom=best.fom,
        best_error=best.metrics["validation_error"],
        best_member=best.member,
        median_fom=status.median_fom,
    )
    return status.generation


def main() -> int:
    given = arguments(__doc__)
    root = given.data.resolve()
    wall_time_s = 1.0 if given.cpu else max(5.0, SAFETY * (given.limit_s - START_AND_END_S))
    cosine = config("", root, given.cpu)["compare"]["arms"]["cosine"]
    with evodevo.local(workers=1, runs_dir=given.work / "runs") as client:
        first = config("tri-parent", root, given.cpu, generations=1000)
        first["limits"] = {"wall_time_s": wall_time_s}
        generations = carry_out(client, first)
        cosine["options"]["epochs"] = generations
        carry_out(client, config("cosine", root, given.cpu, generations=generations, **cosine))
    return 0


if __name__ == "__main__":
    sys.exit(main())
