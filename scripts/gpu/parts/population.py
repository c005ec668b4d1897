"""Carry out a whole run: ResNet-20 on all of CIFAR-10, 48 members for 20 epochs on one worker.

It is configs/resnet20.yaml with the defaults of `tri_parent`, bfloat16, and the number of concurrent members
that a short measurement finds best. It ends early, after a whole generation, if time runs out.
"""

import sys
import time
from pathlib import Path
from typing import Any

import busy
import yaml
from part import REPOSITORY, arguments, found

import evodevo

POPULATION, EPOCHS = 48, 20
END_S = 25.0
"""Seconds reserved for starting the cluster, checking the config, the soup, the test and the report."""
TINY = {
    "batch_size": 16,
    "pixels": 16,
    "train_examples": 32,
    "validation_examples": 20,
    "test_examples": 20,
}


def config(root: Path, cpu: bool, wall_time_s: float) -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load(
        (REPOSITORY / "configs" / "resnet20.yaml").read_text(encoding="utf-8")
    )
    made["run"] = {"name": "population", "seed": 0}
    made["workload"]["options"] |= TINY if cpu else {"batch_size": 128, "precision": "bfloat16"}
    made["search"] = {
        "population": 2 if cpu else POPULATION,
        "epochs": 2 if cpu else EPOCHS,
        "loci": made["search"]["loci"],
    }
    made["data"] = {"root": str(root)}
    made["limits"] = {"wall_time_s": wall_time_s}
    made["cluster"] = {
        "workers": 1,
        "members_per_device": 2 if cpu else "auto",
        "device": "any" if cpu else "gpu",
    }
    return made


def main() -> int:
    given = arguments(__doc__)
    wanted = config(given.data.resolve(), given.cpu, max(5.0, given.limit_s - END_S))
    began = time.monotonic()
    with evodevo.local(workers=1, runs_dir=given.work / "runs") as client:
        run = client.submit(wanted)
        submitted = time.monotonic()
        with busy.watched() as gpu:
            status = run.wait()
        history = run.view.history
    over = time.monotonic()
    best = history.best
    assert best is not None
    assert best.outcome is not None
    found(
        run=status.name,
        state=status.state,
        generations=f"{status.generation} of {status.generations}",
        members_at_once=history.config.cluster.members_per_device,
        member_epochs=sum(history.config.search.leg_epochs(life.generation) for life in history.over),
        until_it_began_s=round(submitted - began, 1),
        training_s=round(history.training_s, 1),
        launch_to_report_s=round(over - began, 1),
        best_fom=best.fom,
        best_error=best.outcome.metrics["validation_error"],
        **history.test,
        **gpu.facts(),
    )
    return 0 if status.state == "done" else 1


if __name__ == "__main__":
    sys.exit(main())
