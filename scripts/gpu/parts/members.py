"""Measure the time of a member-epoch, alone and with other members on the device: `members.py WORKLOAD`.

There is a row for each way to train: eager, captured, captured and compiled, K members that take turns on
streams, K stacked in one network, and K stacked and compiled. `member_epoch_s` is the steps of an epoch of
the whole training split over the steps per second of all members together. It includes augmentation and
averaged weights, but not evaluation.
"""

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import busy
import torch
import yaml
from part import REPOSITORY, arguments, found

from evodevo.config import RunConfig, parse
from evodevo.run.records import Job
from evodevo.run.setup import job_of
from workers import measure
from workers.build import build
from workers.static import epoch as static
from workers.workload import Workload

CONFIGS = {"lenet": "quickstart.yaml", "resnet20": "resnet20.yaml", "capsnet": "capsnet.yaml"}
OPTIONS: dict[str, dict[str, Any]] = {
    "lenet": {"batch_size": 50},
    "resnet20": {"batch_size": 128, "precision": "bfloat16"},
    "capsnet": {"batch_size": 128, "precision": "bfloat16"},
}
IMAGES = {"pixels": 16, "train_examples": 64, "validation_examples": 20, "test_examples": 20}
TINY: dict[str, dict[str, Any]] = {
    "lenet": {"train_examples": 200},
    "resnet20": {"depth": 8, "batch_size": 16, "precision": None, **IMAGES},
    "capsnet": {"batch_size": 16, "precision": None, **IMAGES},
}
MANY = {"lenet": (16, 64, 256), "resnet20": (8, 16, 48), "capsnet": (4, 16)}
"""Numbers of concurrent members."""


def config_of(name: str, data: Path, tiny: bool) -> RunConfig:
    """Return the config of a workload with the options above, members judged by averaged weights."""
    config: dict[str, Any] = yaml.safe_load(
        (REPOSITORY / "configs" / CONFIGS[name]).read_text(encoding="utf-8")
    )
    options = config["workload"].setdefault("options", {})
    options |= OPTIONS[name] | (TINY[name] if tiny else {})
    config["search"] |= {"judge": "averaged"}
    config["data"] = {"root": None if tiny and name == "lenet" else str(data)}
    return parse(config)


def ways(name: str, tiny: bool) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Yield each way to train: its name, the number of concurrent members, attributes of the workload.

    Members are stacked if the name begins with `stacked`.
    """
    yield "eager", 1, {"capture": "never"}
    yield "captured", 1, {"capture": "auto"}
    if not tiny:
        yield "captured, compiled", 1, {"capture": "auto", "compile": True}
    many = (2,) if tiny else MANY[name]
    for count in many[:2]:
        yield "streams", count, {"capture": "auto"}
    for count in many:
        yield "stacked", count, {"capture": "auto"}
    if not tiny:
        yield "stacked, compiled", many[-1], {"capture": "auto", "compile": True}


@contextlib.contextmanager
def set_on(workload: Workload, attributes: Mapping[str, Any]) -> Iterator[None]:
    """Set attributes within the block; afterwards restore them and discard the steps made with them."""
    before = {key: getattr(workload, key) for key in attributes}
    for key, value in attributes.items():
        setattr(workload, key, value)
    try:
        yield
    finally:
        for key, value in before.items():
            setattr(workload, key, value)
        vars(workload).pop("_shelf", None)
        measure.free_memory()


def main() -> int:
    given = arguments(__doc__)
    (name,) = given.names
    if not given.cpu and not torch.cuda.is_available():
        sys.exit("torch sees no CUDA device")
    device = torch.device("cpu" if given.cpu else "cuda")
    static.DEVICES = ("cuda", "cpu")  # so that the tiny version takes the same path, without a graph
    torch.set_deterministic_debug_mode("warn")  # as workers.preload has it
    config = config_of(name, given.data, given.cpu)
    with tempfile.TemporaryDirectory() as directory:
        job = job_of(config, Path(directory) / "run")
        return measured(name, config, job, device, time.monotonic() + given.limit_s)


def measured(name: str, config: RunConfig, job: Job, device: torch.device, deadline: float) -> int:
    """Measure each way to train while there is time; return an exit status."""
    workload: Any = build(job.workload)
    workload.prepare(device, job.data_root)
    founder = config.space().express(config.space().given())
    steps = max(1, len(workload.splits.train[0]) // workload.batch_size)
    failed = 0
    for way, count, attributes in ways(name, device.type == "cpu"):
        facts: dict[str, Any] = {"workload": name, "way": way, "members": count}
        began = time.monotonic()
        if deadline - began < 5.0 and device.type == "cuda":
            found(**facts, error="no time left")
            failed += 1
            continue
        try:
            with set_on(workload, attributes), busy.watched() as gpu:
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                stacked = way.startswith("stacked")
                rate = measure.steps_per_second(workload, job, founder, count, device, stacked)
                facts |= {
                    "steps_per_s": round(rate, 1),
                    "member_epoch_s": round(steps / rate, 4),
                    **gpu.facts(),
                }
                if device.type == "cuda":
                    facts["peak_MiB"] = torch.cuda.max_memory_allocated() >> 20
                facts["notes"] = "; ".join(static.report(workload)) or None
        except Exception as why:  # still measure the other ways
            facts["error"] = f"{type(why).__name__}: {why}"
            failed += 1
        found(**facts, took_s=round(time.monotonic() - began, 1))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
