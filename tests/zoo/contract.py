"""What every workload of the zoo has to keep: legs equal training in one go, or `describe` refuses it.

`works/` has the workloads that are accepted, `refused/` the others with what their message has to say. Each
file has a class `Net`, and may have `FOUNDERS`: the hyperparameters of members.

`python -m tests.zoo.contract` prints the digests of all checkpoints of `works/`, as JSON.
"""

import functools
import hashlib
import importlib
import json
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from evodevo.run.records import CheckpointRef, Job
from tests.workers.toys import assignment, job, run_one, section
from workers import cache
from workers.seeding import derived, seed_all
from workers.training import Leg

FOUNDERS = ({"learning_rate": 0.05, "momentum": 0.9}, {"learning_rate": 0.02, "momentum": 0.5})
SEEDS = (7, 8, 9)
HERE = Path(__file__).parent


def names(folder: str) -> list[str]:
    return sorted(path.stem for path in (HERE / folder).glob("*.py"))


def module_of(folder: str, name: str) -> Any:
    return importlib.import_module(f"tests.zoo.{folder}.{name}")


def founders_of(folder: str, name: str) -> tuple[dict[str, Any], ...]:
    return getattr(module_of(folder, name), "FOUNDERS", FOUNDERS)


def job_of(directory: Path, folder: str, name: str, **changed: Any) -> Job:
    use = section(f"tests.zoo.{folder}.{name}:Net")
    given = {"total_epochs": len(SEEDS) * changed.get("longest_leg", 1), "seed": 3, **changed}
    return job(directory, use, **given)


def forget() -> None:
    """As in a worker process that has just begun."""
    cache._workloads = OrderedDict()
    cache._checkpoints = OrderedDict()
    cache._checkpoints_bytes = 0


def bytes_of(job: Job, ref: CheckpointRef) -> bytes:
    return (Path(job.checkpoints_url) / ref.name).read_bytes()


def by_legs(job: Job, hyperparameters: dict[str, Any]) -> tuple[list[bytes], dict[str, float]]:
    """The checkpoints of a member that is trained in legs, each by another worker, and its last metrics."""
    found: list[bytes] = []
    parent = None
    for leg, seed in enumerate(SEEDS):
        forget()
        outcome = run_one(
            job,
            assignment(
                parent,
                hyperparameters=hyperparameters,
                training_seed=seed,
                epoch=leg * job.longest_leg,
                leg=leg,
                attempt=leg + 1,
            ),
        )
        assert outcome.status == "done", outcome.error
        parent = outcome.checkpoint
        found.append(bytes_of(job, parent))
    return found, dict(outcome.metrics)


def in_one_go(job: Job, hyperparameters: dict[str, Any]) -> tuple[list[bytes], dict[str, float]]:
    """The same from one `Training` that is trained on, with the generators seeded as for each leg."""
    workload: Any = cache.loaded(job)
    found = []
    training = None
    for number, seed in enumerate(SEEDS):
        leg = Leg(job.longest_leg, job.steps, number * job.longest_leg, job.total_epochs)
        fresh = workload.begin(hyperparameters, seed, None, leg)  # seeds, and draws what a new leg draws
        training = training or fresh
        training.generator.manual_seed(seed)
        training.leg, training.epoch, training.step = leg, leg.before, 0
        while training.epoch < leg.before + leg.epochs if leg.steps is None else training.step < leg.steps:
            steps = workload.train(training)
            for _ in steps:
                training.step += 1
                if training.step == leg.steps:
                    steps.close()
            training.epoch += 1
        found.append(workload.checkpoint(training))
    seed_all(derived(job.seed, "evaluate"))
    return found, workload.evaluate(training, "validation")


def digests_of(checkpoints: list[bytes]) -> list[str]:
    return [hashlib.sha256(data).hexdigest()[:16] for data in checkpoints]


@functools.cache
def everywhere() -> dict[str, list[str]]:
    found = {}
    for name in names("works"):
        with tempfile.TemporaryDirectory() as directory:
            checkpoints, _ = by_legs(job_of(Path(directory), "works", name), founders_of("works", name)[0])
        found[name] = digests_of(checkpoints)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(everywhere()))
