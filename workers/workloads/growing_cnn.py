"""Growing convolutional networks for CIFAR-10: a child inherits its parent's blocks, frozen.

The search space is that of the variable-length genetic algorithm of Xiao et al. 2020 (arXiv 2006.12703).
Choices that the paper leaves open: a norm precedes its activation, the skip is added before the last
activation of a block, pooling is over 2 x 2 pixels, and images are shifted and mirrored in training.
"""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from evodevo.errors import UsageError
from workers import state
from workers.hyperparameters import Hyperparameters
from workers.images import ImageClassifier
from workers.names import original
from workers.topology import same_convolution
from workers.workload import Batch, Leg, Training
from workers.workloads.resnet20 import GlobalMean

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "elu": nn.ELU, "leaky_relu": nn.LeakyReLU}
POOLINGS: dict[str, type[nn.Module]] = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}
CLASSES = 10
GENES: dict[str, Any] = {
    **{"channels_a": 32, "kernel_a": 3, "norm_a": True},
    **{"layer_b": False, "channels_b": 32, "kernel_b": 3, "norm_b": True},
    **{"skip": False, "pool": True, "pooling": "max"},
}
"""The genes of a block, and their defaults."""
BEGINNINGS = ("random", "identity")


class GrowingCNN(ImageClassifier):
    """Blocks of one or two convolutions, the global mean of each channel, and a dense layer to ten classes.

    Evolvable: blocks (their number, default 1), for each of them, counted from 1, the genes of `GENES`
    (`block1.channels_a`, ...), activation (relu, elu, leaky_relu; default relu), learning_rate (of Adam,
    default 0.001) and new_blocks (random, identity; default random). A block is layer a, with layer_b a
    second one, and with skip a 1 x 1 convolution past both; with pool its output is pooled, unless it is a
    single pixel.

    A child inherits the leading blocks of its parent that have the same shapes. They are not trained any
    more, nor are their norms updated; the rest is newly drawn. A child whose network has the same shapes as
    its parent's inherits all of it, and frozen blocks stay frozen. So a network trained from the start is
    trained as a whole. With new_blocks: identity, what is newly drawn passes its input on as far as its
    shape, norms and pooling allow, so that a longer network begins nearly as good as its parent (the idea of
    Net2Net, Chen et al. 2016, arXiv 1511.05641). The options are those of `workers.images.ImageClassifier`.
    """

    batch_size = 64

    def model(self) -> nn.Module:
        return self.model_of(Hyperparameters({}))

    def model_of(self, hp: Hyperparameters) -> nn.Module:
        """Return a member's network; raise `UsageError` for invalid hyperparameters."""
        activation = _one_of("activation", hp.get("activation", "relu"), ACTIVATIONS)
        _one_of("new_blocks", hp.get("new_blocks", "random"), BEGINNINGS)
        blocks, channels = [], 3
        for genes in blocks_of(hp):
            blocks.append(Block(channels, genes, ACTIVATIONS[activation]))
            channels = blocks[-1].channels
        return GrowingNetwork(blocks, nn.Linear(channels, CLASSES))

    def optimizer(self, model: nn.Module, hp: Hyperparameters) -> torch.optim.Optimizer:
        """Return an optimizer of the parameters that are not frozen."""
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return torch.optim.Adam(trained, lr=hp.get("learning_rate", 1e-3))

    def begin(
        self,
        hyperparameters: Mapping[str, Any],
        training_seed: int,
        parent: bytes | None,
        leg: Leg = Leg(),  # noqa: B008
    ) -> Training:
        training = super().begin(hyperparameters, training_seed, None, leg)
        if parent is None:
            return training
        before = state.model_state(parent)
        network = original(training.model)
        assert isinstance(network, GrowingNetwork)
        is_whole = _shapes(network.state_dict()) == _shapes(before)
        carried = int(before[CARRIED]) if is_whole else network.take(before)
        if training.hyperparameters.get("new_blocks", "random") == "identity" and carried and not is_whole:
            network.pass_on(before, carried)
        network.freeze(carried)
        training.optimizer = self.optimizer(training.model, training.hyperparameters)
        training.given = state.given(training)
        if is_whole:
            state.restore(parent, training)
        elif training.averaged is not None:
            training.averaged.begin(training.model)
        return training

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return `loss`, `error`, and `accuracy`, the fraction of images classified correctly."""
        found = super().metrics(model, batch)
        return {**found, "accuracy": 1.0 - found["error"]}

    def exhibits(self, training: Training) -> Mapping[str, bytes]:
        """Return a drawing of the network, layer by layer."""
        from workers.workloads import growing_picture

        hp, network = training.hyperparameters, original(training.model)
        count = sum(parameter.numel() for parameter in network.parameters())
        activation = hp.get("activation", "relu")
        return {"network.png": growing_picture.drawn(blocks_of(hp), activation, self.pixels, count)}


CARRIED = "carried"


class GrowingNetwork(nn.Module):
    """A network of blocks, the first `frozen` of which are inherited and not trained."""

    def __init__(self, blocks: list["Block"], classifier: nn.Linear) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.mean = GlobalMean()
        self.classifier = classifier
        self.register_buffer(CARRIED, torch.zeros((), dtype=torch.int64))
        self.frozen = 0

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (n, 10) for images float32 (n, 3, pixels, pixels)."""
        values = images
        for block in self.blocks:
            values = block(values)
        scores: Tensor = self.classifier(self.mean(values))
        return scores

    @torch.no_grad()
    def take(self, other: Mapping[str, Tensor]) -> int:
        """Copy the leading blocks that have the same shapes as another network's; return their number.

        The classifier is copied too if it has the same shape.
        """
        own, shared = self.state_dict(), 0
        while shared < len(self.blocks) and self._fits(other, f"blocks.{shared}."):
            shared += 1
        parts = [f"blocks.{number}." for number in range(shared)]
        parts += ["classifier."] if self._fits(other, "classifier.") else []
        for name, value in own.items():
            if name.startswith(tuple(parts)):
                value.copy_(other[name])
        return shared

    @torch.no_grad()
    def pass_on(self, other: Mapping[str, Tensor], carried: int) -> None:
        """Let the blocks after the first `carried` begin as the identity, and the classifier as another's.

        The classifier's weights of channels that the other network lacks are zero.
        """
        for block in self.blocks[carried:]:
            assert isinstance(block, Block)
            block.pass_on()
        theirs = other["classifier.weight"]
        shared = min(theirs.shape[1], self.classifier.in_features)
        self.classifier.weight.zero_()[:, :shared] = theirs[:, :shared]
        self.classifier.bias.copy_(other["classifier.bias"])

    def freeze(self, count: int) -> None:
        """Freeze the first `count` blocks."""
        self.frozen = count
        self.get_buffer(CARRIED).fill_(count)
        for block in self.blocks[:count]:
            block.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "GrowingNetwork":
        """Set the mode, except for frozen blocks, whose norms keep their statistics."""
        super().train(mode)
        for block in self.blocks[: self.frozen]:
            block.eval()
        return self

    def _fits(self, other: Mapping[str, Tensor], part: str) -> bool:
        """Return whether tensors with the name prefix `part` have the same shapes in another network."""
        own, its = (
            {name: shape for name, shape in _shapes(tensors).items() if name.startswith(part)}
            for tensors in (self.state_dict(), other)
        )
        return own == its


class Block(nn.Module):
    """A block of one or two convolutions; see `GrowingCNN`."""

    def __init__(self, channels_in: int, genes: Mapping[str, Any], activation: type[nn.Module]) -> None:
        super().__init__()
        self.a = layer(channels_in, genes["channels_a"], genes["kernel_a"], genes["norm_a"])
        self.channels = genes["channels_a"]
        self.b: nn.Module | None = None
        if genes["layer_b"]:
            self.b = layer(self.channels, genes["channels_b"], genes["kernel_b"], genes["norm_b"])
            self.channels = genes["channels_b"]
        self.skip = nn.Conv2d(channels_in, self.channels, 1) if genes["skip"] else None
        self.activation = activation()
        self.pooling = POOLINGS[genes["pooling"]](2) if genes["pool"] else None

    @torch.no_grad()
    def pass_on(self) -> None:
        """Let convolutions copy the channels of their input; further channels keep their random filters."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                channels = range(min(module.in_channels, module.out_channels))
                centre = [(size - 1) // 2 for size in module.kernel_size]
                module.weight[: len(channels)] = 0.0
                module.weight[channels, channels, centre[0], centre[1]] = 1.0
        if self.skip is not None:
            self.skip.weight.zero_()
            assert self.skip.bias is not None
            self.skip.bias.zero_()

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute (n, channels, size, size), or half the size, from float32 (n, channels_in, size, size)."""
        values: Tensor = self.a(inputs)
        if self.b is not None:
            values = self.b(self.activation(values))
        if self.skip is not None:
            values = values + self.skip(inputs)
        values = self.activation(values)
        if self.pooling is not None and values.shape[-1] > 1:
            values = self.pooling(values)
        return values


def layer(channels_in: int, channels: int, kernel: int, norm: bool) -> nn.Module:
    """Return a convolution with stride 1 that keeps the size of its input, optionally with batch norm."""
    made = same_convolution(channels_in, channels, kernel)
    for module in made:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    return nn.Sequential(*made, *([nn.BatchNorm2d(channels)] if norm else []))


def blocks_of(hp: Hyperparameters) -> list[dict[str, Any]]:
    """Return the genes of each block, first to last; raise `UsageError` for invalid ones."""
    found = []
    for number in range(1, _count("blocks", hp.get("blocks", 1)) + 1):
        genes = {name: hp.get(f"block{number}.{name}", usual) for name, usual in GENES.items()}
        for name in ("channels_a", "channels_b", "kernel_a", "kernel_b"):
            _count(f"block{number}.{name}", genes[name])
        _one_of(f"block{number}.pooling", genes["pooling"], POOLINGS)
        found.append(genes)
    return found


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in tensors.items()}


def _one_of(locus: str, value: Any, known: Collection[str]) -> str:
    if value not in known:
        raise UsageError(f"search.loci.{locus}: should be one of {', '.join(known)}, not {value!r}")
    return str(value)


def _count(locus: str, value: Any) -> int:
    if type(value) is not int or value < 1:
        raise UsageError(f"search.loci.{locus}: should be a whole number, 1 or more, not {value!r}")
    return value
