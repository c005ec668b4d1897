"""A feed-forward network on the pixels of CIFAR-10, with hyperparameters for its topology and training.

It follows the example of NaturalSelection (Nielsen 2019, github.com/saattrupdan/naturalselection): fifteen
genes, one epoch per member. Optimizers and initializers are Keras', as there.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evodevo.errors import UsageError
from workers import batches
from workers.build import function_at
from workers.combining import mean_distribution
from workers.data import cifar10
from workers.hyperparameters import Hyperparameters
from workers.images import mean_image
from workers.workload import Batch, Splits, Workload

CLASSES = 10
EPSILON = 1e-7
"""Keras' epsilon, of optimizers, and the minimum probability in a loss."""
OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamax": torch.optim.Adamax,
    "nadam": torch.optim.NAdam,
}
ON_CPU = {"adam": {"fused": True}, "nadam": {"foreach": True}}
"""Implementations with fewer passes over memory than the default: 10 and 2 times as fast, respectively."""
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "elu": nn.ELU}
SCALES = {"lecun": (1.0, "in"), "glorot": (1.0, "mean"), "he": (2.0, "in")}
"""Variance of a weight times the number of inputs, or times the mean of inputs and outputs, as in Keras."""
INITIALIZERS = [f"{name}_{shape}" for name in SCALES for shape in ("uniform", "normal")]
TRUNCATED = 0.87962566103423978
"""Standard deviation of a standard normal distribution truncated at two."""


class FeedForward(Workload):
    """Dense layers from 3,072 inputs, scaled to [0, 1] and centred by column, to softmax over ten classes.

    Evolvable: optimizer (adam, adamax, nadam), initializer (lecun, glorot or he, _uniform or _normal),
    activation (relu, elu), batch_size, input_dropout, and for each layer, counted from 0, neurons0 (0 omits
    the layer) and dropout0, which follows it; or layers, neurons and dropout for layers that are all alike;
    and learning_rate (default 0.001). Dropouts are 0 by default.

    score: a function, as `module:function`, of labels int64 (n,) and probabilities float32 (n, 10) of a whole
    split; it becomes the metric `score`. The other options are those of `workers.data.cifar10.load`.
    """

    mean: Tensor
    """Mean of the training images, scaled to [0, 1]: float32 (inputs,)."""

    def __init__(
        self,
        train_examples: int | None = None,
        validation_examples: int = 5000,
        test_examples: int | None = None,
        pixels: int = 32,
        score: str | None = None,
    ) -> None:
        self.sizes = train_examples, validation_examples, test_examples, pixels
        self.inputs = 3 * pixels * pixels
        self.score = None if score is None else function_at(score, "workload.options.score:")

    def data(self, root: str | None) -> Splits:
        return cifar10.load(root, *self.sizes)

    def prepare(self, device: torch.device, data_root: str | None) -> None:
        super().prepare(device, data_root)
        self.mean = mean_image(self.splits.train[0]).flatten()

    def model(self) -> nn.Module:
        """Return the network without a hidden layer."""
        return self.model_of(Hyperparameters({}))

    def model_of(self, hp: Hyperparameters) -> nn.Module:
        """Return a member's network; raise `UsageError` for invalid hyperparameters."""
        initializer = one_of("initializer", hp.get("initializer", "glorot_uniform"), INITIALIZERS)
        activation = ACTIVATIONS[one_of("activation", hp.get("activation", "relu"), ACTIVATIONS)]
        made: list[nn.Module] = [nn.Dropout(probability("input_dropout", hp.get("input_dropout", 0.0)))]
        width = self.inputs
        for neurons, dropout in layers_of(hp):
            made += [nn.Linear(width, neurons), activation(), nn.Dropout(dropout)]
            width = neurons
        made.append(nn.Linear(width, CLASSES))
        for layer in made:
            if isinstance(layer, nn.Linear):
                initialise(layer, initializer)
        return nn.Sequential(*made)

    def batch_size_of(self, hp: Hyperparameters) -> int:
        size = hp.get("batch_size", self.batch_size)
        if not isinstance(size, int) or size < 1:
            raise UsageError(f"search.loci.batch_size: should be a whole number, 1 or more, not {size!r}")
        return size

    def optimizer(self, model: nn.Module, hp: Hyperparameters) -> torch.optim.Optimizer:
        name = one_of("optimizer", hp.get("optimizer", "adam"), OPTIMIZERS)
        settings: dict[str, Any] = {"lr": hp.get("learning_rate", 1e-3), "eps": EPSILON}
        if self.device.type == "cpu":
            settings |= ON_CPU.get(name, {})
        return OPTIMIZERS[name](model.parameters(), **settings)

    def augment(self, batch: Batch, drawn: Any, hp: Hyperparameters) -> Batch:
        images, labels = batch
        return self.centred(images), labels

    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        inputs, labels = batch
        return self.criterion(model(inputs), labels)

    def criterion(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean over batch and classes of binary cross entropies of softmax probabilities."""
        probabilities = outputs.softmax(1).clamp(EPSILON, 1 - EPSILON)
        is_class = F.one_hot(labels, CLASSES)
        return -(is_class * probabilities.log() + (1 - is_class) * (1 - probabilities).log()).mean()

    def combine(self, outputs: Sequence[Tensor]) -> Tensor:
        """Return the mean of the networks' distributions."""
        return mean_distribution(outputs)

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor | float]:
        """Return a split's `loss` and `accuracy`, and means over classes of `precision`, `recall` and `f1`.

        A class that is never predicted has precision 0. `score` is added if the option is given.
        """
        images, labels = batch
        outputs = model(self.centred(images))
        given = outputs.argmax(1)
        counts = torch.bincount(labels * CLASSES + given, minlength=CLASSES**2).double()
        counts = counts.view(CLASSES, CLASSES)
        right, true, claimed = counts.diagonal(), counts.sum(1), counts.sum(0)
        own = {} if self.score is None else {"score": self.score(labels, outputs.softmax(1))}
        return {
            "loss": self.criterion(outputs, labels),
            "accuracy": right.sum() / counts.sum(),
            "precision": (right / claimed.clamp(min=1)).mean(),
            "recall": (right / true.clamp(min=1)).mean(),
            "f1": (2 * right / (true + claimed).clamp(min=1)).mean(),
            **own,
        }

    def evaluation_batches(self, split: str) -> Iterator[Batch]:
        """Yield the split as one batch, as precision and the like cannot be averaged over batches."""
        if (tensors := getattr(self.splits, split)) is not None:
            yield batches.on_device(tensors, self.device)

    def centred(self, images: Tensor) -> Tensor:
        """Return centred inputs float32 (n, inputs) of images, bytes (n, 3, pixels, pixels)."""
        return images.flatten(1).float().div_(255).sub_(self.mean)


def layers_of(hp: Hyperparameters) -> list[tuple[int, float]]:
    """Return neurons and dropout of each hidden layer; raise `UsageError` for invalid hyperparameters."""
    if "layers" in hp:
        one = count("neurons", hp["neurons"]), probability("dropout", hp.get("dropout", 0.0))
        return [one] * count("layers", hp["layers"])
    layers, at = [], 0
    while f"neurons{at}" in hp:
        neurons = count(f"neurons{at}", hp[f"neurons{at}"])
        dropout = probability(f"dropout{at}", hp.get(f"dropout{at}", 0.0))
        layers += [(neurons, dropout)] if neurons else []
        at += 1
    return layers


def initialise(layer: nn.Linear, initializer: str) -> None:
    """Draw weights like Keras' initializer of that name, and set biases to 0."""
    name, _, shape = initializer.partition("_")
    scale, fan = SCALES[name]
    count = layer.in_features if fan == "in" else (layer.in_features + layer.out_features) / 2
    deviation = math.sqrt(scale / count)
    if shape == "uniform":
        nn.init.uniform_(layer.weight, -math.sqrt(3) * deviation, math.sqrt(3) * deviation)
    else:
        cut = deviation / TRUNCATED
        nn.init.trunc_normal_(layer.weight, std=cut, a=-2 * cut, b=2 * cut)
    nn.init.zeros_(layer.bias)


def one_of(locus: str, value: Any, known: Sequence[str] | Mapping[str, Any]) -> str:
    if value not in known:
        raise UsageError(f"search.loci.{locus}: should be one of {', '.join(known)}, not {value!r}")
    return str(value)


def count(locus: str, value: Any) -> int:
    if type(value) is not int or value < 0:
        raise UsageError(f"search.loci.{locus}: should be a whole number, 0 or more, not {value!r}")
    return value


def probability(locus: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise UsageError(f"search.loci.{locus}: should be a number from 0 to below 1, not {value!r}")
    return float(value)
