"""A workload whose epochs take a millisecond; imported by workers as `harness.work:Points`."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workers.hyperparameters import Hyperparameters
from workers.workload import Batch, Splits, Training, Workload

LARGEST_OF_TRIALS = 10
"""Upper bound of the members' seeds in the trial before a run; those of a run are far larger."""
BROKEN = os.environ.get("FAULTS_BROKEN")
"""How this worker is broken: `oserror` and `error` are raised in training, `module` and `data` missing."""
if BROKEN == "module":
    import a_module_that_this_worker_lacks  # noqa: F401


class Points(Workload):
    """A linear model of 60 random points in 3 classes.

    pause_s: seconds that each epoch sleeps before it trains. hold: a file; while it exists, epochs wait.
    kill_first: a directory; the first member to train claims it, and while it contains files `kill*`, each of
    that member's attempts removes one and kills its process.
    """

    def __init__(self, pause_s: float = 0.0, hold: str = "", kill_first: str = "") -> None:
        self.pause_s, self.hold, self.kill_first = pause_s, hold, kill_first
        self.batch_size = 10

    def data(self, root: str | None) -> Splits:
        if BROKEN == "data":
            Path("/nowhere/points.npy").read_bytes()
        generator = torch.Generator().manual_seed(1)
        labels = torch.arange(60) % 3
        inputs = torch.randn(60, 4, generator=generator) + 2 * F.one_hot(labels, 4)
        return Splits((inputs[:40], labels[:40]), (inputs[40:], labels[40:]))

    def model(self) -> nn.Module:
        return nn.Linear(4, 3)

    def optimizer(self, model: nn.Module, hp: Hyperparameters) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=hp["learning_rate"], momentum=hp["momentum"])

    def train_batches(self, training: Training) -> Iterator[Batch]:
        if BROKEN == "oserror":
            raise OSError("the device is on fire")
        if BROKEN == "error":
            raise RuntimeError("illegal memory access")
        seed = training.generator.initial_seed()
        if seed >= LARGEST_OF_TRIALS:
            if self.kill_first:
                self._kill_first(seed)
            time.sleep(self.pause_s)
            while self.hold and os.path.exists(self.hold):
                time.sleep(0.02)
        yield from super().train_batches(training)

    def _kill_first(self, seed: int) -> None:
        directory = Path(self.kill_first)
        with contextlib.suppress(FileExistsError), open(directory / "member", "x") as file:
            file.write(str(seed))
        left = sorted(directory.glob("kill*"))
        if left and (directory / "member").read_text() == str(seed):
            left[0].unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        inputs, labels = batch
        return F.cross_entropy(model(inputs), labels)

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        inputs, labels = batch
        return {"loss": F.cross_entropy(model(inputs), labels)}
