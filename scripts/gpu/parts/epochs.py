"""Measure the seconds of an epoch of training on the full data: `epochs.py WORKLOAD`.

The workload has the options and initial hyperparameters of its config, and the training split of its real
data. Each combination of precision and batch size trains for some seconds after a warm-up. `epoch_s` is the
steps of an epoch over the measured steps per second, and `measured` the fraction of an epoch that was trained
(nothing is extrapolated if it is 1 or more). Evaluation is not included.
"""

import importlib
import inspect
import math
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from part import REPOSITORY, arguments, found

from workers.workload import Workload

CONFIGS = {
    "nmt": "nmt.yaml",
    "detector": "small/detector.yaml",
}
TINY: dict[str, dict[str, Any]] = {
    "nmt": {"units": 16, "layers": 1, "train_examples": 256, "validation_examples": 20, "test_examples": 20},
    "detector": {"pixels": 64, "width": 0.125, "train_examples": 8},
}
PRECISIONS = {"float32": ("float32", False), "tf32": ("float32", True), "bf16": ("bfloat16", False)}
"""The workload's `precision`, and whether float32 products may use TF32."""
BATCH_SIZES = (32, 128)
SECONDS, WARM_UP_S, BLOCK_S = 1.5, 0.5, 0.2
"""Length of a measurement, of the warm-up before it, and of a block between two readings of the clock."""


def build(name: str, data: Path, tiny: bool) -> tuple[Workload, dict[str, Any]]:
    """Return a workload, not yet prepared, and the initial hyperparameters of its config."""
    config = yaml.safe_load((REPOSITORY / "configs" / CONFIGS[name]).read_text(encoding="utf-8"))
    module, _, class_name = config["workload"]["use"].partition(":")
    options = {**config["workload"]["options"], **(TINY[name] if tiny else {})}
    if name == "nmt" and (data / "evbnews").is_dir():
        options["corpus"] = "evbnews"  # larger, and not packed
    hyperparameters = {
        locus: about.get("initial", about.get("value")) for locus, about in config["search"]["loci"].items()
    }
    return getattr(importlib.import_module(module), class_name)(**options), hyperparameters


def use_tf32(allowed: bool) -> None:
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed  # convolutions and LSTMs; torch's default is True


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def measure(
    workload: Workload, hyperparameters: dict[str, Any], seconds: float, warm_up_s: float, block_s: float
) -> dict[str, Any]:
    """Train for `seconds` after a warm-up, synchronizing about every `block_s`; return the figures."""
    training = workload.begin(hyperparameters, 0, None)

    def steps() -> Iterator[torch.Tensor]:
        while True:
            yield from workload.train(training)

    step = steps()
    next(step)  # the first step also loads kernels
    synchronize(workload.device)
    step_s = math.inf
    began = last = time.perf_counter()
    while last - began < warm_up_s:
        next(step)
        synchronize(workload.device)
        now = time.perf_counter()
        step_s, last = now - last, now
    block = max(1, round(block_s / step_s))

    rates: list[float] = []
    trained = 0
    began = last = time.perf_counter()
    while last - began < seconds:
        for _ in range(block):
            loss = next(step)
        synchronize(workload.device)
        now = time.perf_counter()
        rates.append(block / (now - last))
        trained, last = trained + block, now
    if not math.isfinite(float(loss)):
        raise ArithmeticError(f"the loss after {trained} steps is {float(loss)}")
    examples = len(workload.splits.train[0])
    epoch_steps = max(1, examples // workload.batch_size)
    rate = trained / (last - began)
    return {
        "examples": examples,
        "steps_per_s": round(rate, 2),
        "spread": round((max(rates) - min(rates)) / statistics.median(rates), 3),
        "epoch_s": round(epoch_steps / rate, 6),
        "measured": round(trained / epoch_steps, 3),
    }


def main() -> int:
    given = arguments(__doc__)
    (name,) = given.names
    if not given.cpu and not torch.cuda.is_available():
        sys.exit("torch sees no CUDA device")
    device = torch.device("cpu" if given.cpu else "cuda")
    torch.set_deterministic_debug_mode("warn")  # as workers.preload has it
    torch.backends.cudnn.benchmark = False
    times = (0.05, 0.0, 0.0) if given.cpu else (SECONDS, WARM_UP_S, BLOCK_S)
    workload, hyperparameters = build(name, given.data, given.cpu)
    assert "precision" in inspect.signature(type(workload)).parameters
    workload.prepare(device, str(given.data))
    failed = 0
    for batch_size in BATCH_SIZES:
        for precision, (option, tf32) in PRECISIONS.items():
            facts: dict[str, Any] = {"workload": name, "precision": precision, "batch": batch_size}
            workload.batch_size = batch_size
            workload.precision = option  # type: ignore[attr-defined]
            use_tf32(tf32)
            try:
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                facts.update(measure(workload, hyperparameters, *times))
                if device.type == "cuda":
                    facts["peak_MiB"] = torch.cuda.max_memory_allocated() >> 20
            except Exception as why:  # still measure the other combinations
                facts["error"] = f"{type(why).__name__}: {why}"
                failed += 1
            found(**facts)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
