"""ResNet-20 and its other depths on CIFAR-10: He et al. 2015 (arXiv 1512.03385), section 4.2."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evodevo.errors import UsageError
from workers.dropblock import DropBlock, dropblock_of
from workers.hyperparameters import Hyperparameters
from workers.images import Capture, ImageClassifier, decayed_kernels
from workers.precision import Precision
from workers.stacked_layers import Folded, NotStackable, PerChannel, split
from workers.stacking import stack

Shortcut = Literal["identity", "projection"]
WIDTHS = (16, 32, 64)


class ResNet20(ImageClassifier):
    """A residual network of 269,722 parameters, or 272,474 with projection shortcuts.

    shortcut: for a block that halves the image and doubles the channels, `identity` takes every other pixel
    and adds channels of zeros (option A, as in section 4.2); `projection` is a 1 x 1 convolution (option B).
    optimizer: adam, or sgd with plain momentum, as in the paper.
    depth: 6 n + 2, with n blocks per width: 8, 14, 20, ...

    Evolvable: learning_rate, and optionally weight_decay and, for sgd, momentum (default 0.9); for the
    topology width (channels of the first stage, doubled twice; default 16) and blocks (per stage).
    DropBlock, with the hyperparameter dropblock, follows each of the last two stages.
    weight_decay is torch's, for kernels only: w times it is added to the gradient. Keras' l2(1e-4), whose
    gradient is 2e-4 w, corresponds to a weight_decay of 2e-4.
    """

    def __init__(
        self,
        batch_size: int = 32,
        shortcut: Shortcut = "identity",
        optimizer: Literal["adam", "sgd"] = "adam",
        train_examples: int | None = None,
        validation_examples: int = 5000,
        test_examples: int | None = None,
        pixels: int = 32,
        precision: Precision | None = None,
        depth: int = 20,
        compile: bool = False,
        capture: Capture = "auto",
    ) -> None:
        if depth < 8 or depth % 6 != 2:
            raise UsageError(f"workload.options.depth: should be 6 n + 2 (8, 14, 20, ...), not {depth}")
        sizes = train_examples, validation_examples, test_examples, pixels
        super().__init__(batch_size, *sizes, precision, compile, capture)
        self.shortcut = shortcut
        self.optimizer_name = optimizer
        self.blocks = (depth - 2) // 6

    def model(self) -> nn.Module:
        return self._network(self.blocks, WIDTHS[0])

    def model_of(self, hp: Hyperparameters) -> nn.Module:
        return self._network(hp.get("blocks", self.blocks), hp.get("width", WIDTHS[0]), dropblock_of(hp))

    def _network(self, count: int, narrowest: int, drop: DropBlock | None = None) -> nn.Module:
        widths = narrowest, 2 * narrowest, 4 * narrowest
        widths_in = (narrowest, *widths)
        blocks = [
            Block(widths_in[stage] if first else width, width, self.shortcut)
            for stage, width in enumerate(widths)
            for first in [True] + [False] * (count - 1)
        ]
        model = nn.Sequential(
            convolution(3, narrowest), nn.BatchNorm2d(narrowest), nn.ReLU(),
            *blocks,
            GlobalMean(), nn.Linear(widths[-1], 10),
        )  # fmt: skip
        model.apply(initialise)
        if drop is not None:
            for last in (blocks[2 * count - 1], blocks[-1]):
                last.drop = DropBlock(drop.rate, drop.size)
        return model

    def optimizer(self, model: nn.Module, hp: Hyperparameters) -> torch.optim.Optimizer:
        groups = decayed_kernels(model, hp.get("weight_decay", 0.0))
        if self.optimizer_name == "adam":
            return torch.optim.Adam(groups, lr=hp["learning_rate"])
        return torch.optim.SGD(groups, lr=hp["learning_rate"], momentum=hp.get("momentum", 0.9))


class Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut past them; the image is halved if the width changes."""

    def __init__(self, width_in: int, width: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.added = width - width_in
        self.stride = 2 if self.added else 1
        self.first, self.first_norm = convolution(width_in, width, self.stride), nn.BatchNorm2d(width)
        self.second, self.second_norm = convolution(width, width), nn.BatchNorm2d(width)
        self.projection = (
            nn.Sequential(nn.Conv2d(width_in, width, 1, self.stride, bias=False), nn.BatchNorm2d(width))
            if self.added and shortcut == "projection"
            else None
        )
        self.drop: DropBlock | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute (n, width, h / stride, w / stride) from float32 (n, width_in, h, w)."""
        outputs = F.relu(self.first_norm(self.first(inputs)))
        outputs = self.second_norm(self.second(outputs))
        outputs = F.relu(outputs + self.past(inputs))
        return outputs if self.drop is None else self.drop(outputs)

    def past(self, inputs: Tensor) -> Tensor:
        if self.projection is not None:
            projected: Tensor = self.projection(inputs)
            return projected
        if not self.added:
            return inputs
        return F.pad(inputs[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))

    def stacked(self, count: int) -> nn.Module:
        if self.drop is not None:
            raise NotStackable(self.drop, "DropBlock has no stacked form")
        return StackedBlock(self, count)


class StackedBlock(Folded):
    def __init__(self, block: Block, count: int) -> None:
        super().__init__(block, count)
        self.stride = block.stride
        self.first, self.first_norm = stack(block.first, count), stack(block.first_norm, count)
        self.second, self.second_norm = stack(block.second, count), stack(block.second_norm, count)
        self.projection = None if block.projection is None else stack(block.projection, count)

    def folded(self, values: Tensor) -> Tensor:
        outputs = F.relu(self.folded_through(self.first_norm, self.folded_through(self.first, values)))
        outputs = self.folded_through(self.second_norm, self.folded_through(self.second, outputs))
        if self.projection is not None:
            return F.relu(outputs + self.folded_through(self.projection, values))
        if outputs.shape == values.shape:
            return F.relu(outputs + values)
        # Each member's channels after those of the input would have zeros added, so they are left unchanged.
        past = split(values[:, :, :: self.stride, :: self.stride], self.count)
        split(outputs, self.count)[:, :, : past.shape[2]] += past
        return F.relu(outputs)


class GlobalMean(nn.Module):
    """The mean of each channel: (n, channels, height, width) to (n, channels)."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.mean((2, 3))

    def stacked(self, count: int) -> nn.Module:
        return PerChannel(self, count)


def convolution(width_in: int, width: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(width_in, width, 3, stride, padding=1, bias=False)


def initialise(layer: nn.Module) -> None:
    """Initialise as He et al. 2015 (arXiv 1502.01852): normal with a variance of 2 / inputs."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if isinstance(layer, nn.Linear):
        nn.init.zeros_(layer.bias)
