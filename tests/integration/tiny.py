"""A workload for tests of whole runs whose checkpoints are small: a linear model on 60 drawn points.

It is imported by workers as `tiny:Tiny`, the way a user's own module is.
"""

import builtins
import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evodevo.errors import Unfit
from workers.combining import mean_distribution
from workers.hyperparameters import Hyperparameters
from workers.workload import Batch, Splits, Training, Workload

LARGEST_OF_TRIALS = 10
"""Upper bound of the members' seeds in the trial before a run; those of a run are far larger."""
BROKEN = os.environ.get("TINY_BROKEN")
if BROKEN == "module":
    import a_module_that_this_worker_lacks  # noqa: F401


class Tiny(Workload):
    """`raises`: an exception that every member raises. `kill_first`: a directory; the first member to train
    claims it, and while it has other files, each of that member's attempts removes one and kills its process.
    `stop_once`: a file; the first epoch that finds it removes it and stops its process (SIGSTOP).

    `pause_s`: how long each epoch sleeps before it trains. `hold`: a file; while it exists, epochs from
    number `hold_from` on wait.

    A worker that has the variable TINY_UNFIT must take no part; it says why. One that has TINY_BROKEN is
    broken in that way: "oserror" and "error" are raised in training, "module" and "data" are missing there.
    """

    def __init__(
        self,
        pause_s: float = 0.0,
        hold: str = "",
        hold_from: int = 0,
        kill_first: str = "",
        raises: str = "",
        stop_once: str = "",
    ) -> None:
        self.stop_once = stop_once
        self.pause_s = pause_s
        self.kill_first = kill_first
        self.raises = raises
        self.hold = hold
        self.hold_from = hold_from
        self.batch_size = 10

    def data(self, root: str | None) -> Splits:
        if why := os.environ.get("TINY_UNFIT"):
            raise Unfit(why)
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
        is_trial = training.generator.initial_seed() < LARGEST_OF_TRIALS
        if self.raises and not is_trial:
            raise getattr(builtins, self.raises)("it says so")
        if self.kill_first and not is_trial:
            self._kill_first(training.generator.initial_seed())
        if self.stop_once and not is_trial and training.epoch == 1:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.stop_once)
                os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(self.pause_s)
        is_held = self.hold and not is_trial and training.epoch >= self.hold_from
        while is_held and os.path.exists(self.hold):
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

    def combine(self, outputs: Sequence[Tensor]) -> Tensor:
        return mean_distribution(outputs)

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        inputs, labels = batch
        return {"loss": F.cross_entropy(model(inputs), labels)}
