"""Measure the time of a training step per member: networks one by one, and K of them stacked.

    python scripts/bench/stacking.py [--runs 5] [--members 1 4 16] [--steps 10] [--threads 1] [--device cpu]
        [--bfloat16] [--out stacking.jsonl]

A step is the forward pass, the backward pass and a step of SGD with momentum of LeNet (28 x 28, batches of
50), ResNet-8 or CapsNet (16 x 16, batches of 32) on random images, without graphs or a compiler. Each run
measures in turn: one by one, in the workload's layout; stacked; stacked in channels_last. Print milliseconds
per member-step and, run by run, their ratio to one by one. On the CPU they are CPU time, which other load
affects little; on a GPU, wall time including synchronization.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from measuring import Log, interleaved, parser_for, ratios, spread
from torch import Tensor, nn

from workers.stacking import channels_last, stacked_from
from workers.workloads.capsnet import CapsuleNetwork
from workers.workloads.lenet import LeNet
from workers.workloads.resnet20 import ResNet20

KINDS = ("one by one", "stacked", "stacked, channels_last")


class Case(NamedTuple):
    model: Callable[[], nn.Module]
    shape: tuple[int, int, int, int]
    layout: torch.memory_format
    """The layout of the workload's batches."""


CASES = {
    "LeNet": Case(lambda: LeNet().model(), (50, 1, 28, 28), torch.contiguous_format),
    "ResNet-8": Case(lambda: ResNet20(depth=8).model(), (32, 3, 16, 16), torch.channels_last),
    "CapsNet": Case(CapsuleNetwork, (32, 3, 16, 16), torch.channels_last),
}


class Alone:
    """Networks that are trained one after the other."""

    def __init__(self, case: Case, models: Sequence[nn.Module]) -> None:
        self.models, self.layout = models, case.layout
        for model in models:
            model.to(memory_format=case.layout)
        self.optimizers = [optimizer(model) for model in models]

    def step(self, images: Tensor, labels: Tensor, bfloat16: bool) -> None:
        for model, one, own, truth in zip(self.models, self.optimizers, images, labels, strict=True):
            one.zero_grad()
            with torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
                outputs = model(own.contiguous(memory_format=self.layout))
            F.cross_entropy(outputs.float(), truth).backward()
            one.step()


class Together:
    """The same networks stacked in one module."""

    def __init__(self, models: Sequence[nn.Module], last: bool) -> None:
        self.model = channels_last(stacked_from(models), last)
        self.optimizer = optimizer(self.model)

    def step(self, images: Tensor, labels: Tensor, bfloat16: bool) -> None:
        self.optimizer.zero_grad()
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
            outputs = self.model(images)
        losses = F.cross_entropy(outputs.float().transpose(1, 2), labels, reduction="none").mean(1)
        losses.sum().backward()
        self.optimizer.step()


def optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)


def seconds(case: Case, kind: str, count: int, steps: int, device: torch.device, bfloat16: bool) -> float:
    """Return the seconds per member-step."""
    torch.manual_seed(0)
    models = [case.model().to(device) for _ in range(count)]
    images = torch.randn(count, *case.shape, device=device)
    labels = torch.randint(0, 10, (count, case.shape[0]), device=device)
    members = Alone(case, models) if kind == KINDS[0] else Together(models, kind == KINDS[2])
    began = 0.0
    for step in range(steps + 2):
        if step == 2:  # the first two are not counted
            began = now(device)
        members.step(images, labels, bfloat16)
    return (now(device) - began) / (steps * count)


def now(device: torch.device) -> float:
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.monotonic()


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--members", type=int, nargs="+", default=[1, 4, 16], help="(default: 1 4 16)")
    parser.add_argument("--steps", type=int, default=10, help="steps to time (default: 10)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--bfloat16", action="store_true", help="autocast, as on a GPU")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = options.device
    about = {"threads": options.threads, "steps": options.steps, "bfloat16": options.bfloat16}
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "none"
    log = Log(options.out, device=str(device), card=card, **about)
    for name, case in CASES.items():
        for count in options.members:
            found: dict[str, list[float]] = {kind: [] for kind in KINDS}
            for run, kind in interleaved(KINDS, options.runs):
                took = seconds(case, kind, count, options.steps, device, options.bfloat16)
                found[kind].append(took)
                log.add(run=run, network=name, members=count, kind=kind, ms=1000 * took)
            print(f"\n{name}, members: {count}, {options.runs} runs, milliseconds per member-step")
            for kind in KINDS:
                over = f"; of one by one: {spread(ratios(found[kind], found[KINDS[0]]))}"
                print(f"  {kind}: {spread([1000 * took for took in found[kind]])}{over}")


if __name__ == "__main__":
    main()
