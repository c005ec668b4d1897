"""A convolutional network that finds RPV-supersymmetry events in images of the ATLAS detector.

The network is that of sparticlesteve/cori-intml-examples (`rpv.py`): three convolutions with stride 1, each
with a ReLU and 2 x 2 max pooling, then dropout, a dense layer with a ReLU, dropout, and one logistic output.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evodevo.errors import UsageError
from workers.combining import mean_probability
from workers.data import rpv
from workers.hyperparameters import Hyperparameters
from workers.topology import draw_as_keras, same_convolution
from workers.workload import Batch, Splits, Workload

ORIGINAL = {
    **{"conv_kernel_sz1": 3, "conv_kernel_sz2": 3, "conv_kernel_sz3": 3},
    **{"conv_filters1": 8, "conv_filters2": 16, "conv_filters3": 32, "dense_sz": 64},
}
DROPOUT = 0.5
POOLINGS = 3
OPTIMIZERS = ("Adam", "NAdam", "Adadelta")


class RPV(Workload):
    """A classifier of events, with 137,233 parameters for 64 x 64 pixels and three channels.

    train_examples, validation_examples, test_examples: number of events of the split to use, the first ones
    (None: all). channels: one or more of hist, histEM and histtrack. synthetic: use made-up events of
    `pixels` x `pixels` instead of the published files, see `workers.data.rpv.made_up`; the numbers of events
    to train and validate are then required.

    Evolvable: learning_rate, and optionally the sizes of `ORIGINAL`, dropout, and optimizer: Adam, NAdam or
    Adadelta, with Keras' settings.
    """

    def __init__(
        self,
        train_examples: int | None = None,
        validation_examples: int | None = None,
        test_examples: int | None = None,
        channels: Sequence[str] = rpv.CHANNELS,
        synthetic: bool = False,
        pixels: int = 64,
        batch_size: int = 64,
    ) -> None:
        self.counts = {
            "train": train_examples, "validation": validation_examples, "test": test_examples
        }  # fmt: skip
        for name, count in self.counts.items():
            if count is not None and count < 1:
                raise UsageError(f"workload.options.{name}_examples: should be 1 or more, not {count}")
            if synthetic and count is None and name != "test":
                raise UsageError(
                    f"workload.options.{name}_examples: is required with synthetic: true, as no file "
                    "determines the number of events"
                )
        if not channels or len(set(channels)) < len(channels) or not set(channels) <= set(rpv.CHANNELS):
            raise UsageError(
                f"workload.options.channels: should be one or more of {', '.join(rpv.CHANNELS)}, each once, "
                f"not {', '.join(map(str, channels)) or 'none'}"
            )
        if pixels < 2**POOLINGS:
            raise UsageError(f"workload.options.pixels: should be {2**POOLINGS} or more, not {pixels}")
        self.channels, self.synthetic, self.pixels = channels, synthetic, pixels
        self.batch_size = batch_size

    def data(self, root: str | None) -> Splits:
        if self.synthetic:
            given = {name: count for name, count in self.counts.items() if count is not None}
            return rpv.made_up(self.channels, given, self.pixels)
        splits = rpv.load(root, self.channels, self.counts)
        height, width = splits.train[0].shape[2:]
        if height != width or height < 2**POOLINGS:
            raise UsageError(
                f"data.root: {root} has images of {height} x {width} pixels; square ones of "
                f"{2**POOLINGS} x {2**POOLINGS} or more are needed"
            )
        self.pixels = height
        return splits

    def model(self) -> nn.Module:
        return self.model_of(Hyperparameters({}))

    def model_of(self, hp: Hyperparameters) -> nn.Module:
        sizes = {name: hp.get(name, original) for name, original in ORIGINAL.items()}
        dropout = hp.get("dropout", DROPOUT)
        layers: list[nn.Module] = []
        channels = len(self.channels)
        for number in range(1, POOLINGS + 1):
            filters = sizes[f"conv_filters{number}"]
            layers += same_convolution(channels, filters, sizes[f"conv_kernel_sz{number}"])
            layers += [nn.ReLU(), nn.MaxPool2d(2)]
            channels = filters
        inputs = channels * (self.pixels // 2**POOLINGS) ** 2
        layers += [nn.Dropout(dropout), nn.Flatten(), nn.Linear(inputs, sizes["dense_sz"]), nn.ReLU()]
        layers += [nn.Dropout(dropout), nn.Linear(sizes["dense_sz"], 1)]
        return nn.Sequential(*layers).apply(draw_as_keras)

    def optimizer(self, model: nn.Module, hp: Hyperparameters) -> torch.optim.Optimizer:
        rate, name = hp["learning_rate"], hp.get("optimizer", OPTIMIZERS[0])
        if name == "Adam":
            return torch.optim.Adam(model.parameters(), lr=rate, eps=1e-7)
        if name == "NAdam":
            return torch.optim.NAdam(model.parameters(), lr=rate, eps=1e-7)
        if name == "Adadelta":
            return torch.optim.Adadelta(model.parameters(), lr=rate, rho=0.95, eps=1e-7)
        raise UsageError(f"search.loci.optimizer: should be among {', '.join(OPTIMIZERS)}, not {name}")

    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        images, labels = batch
        return F.binary_cross_entropy_with_logits(model(images)[:, 0], labels)

    def combine(self, outputs: Sequence[Tensor]) -> Tensor:
        """Return the mean of the networks' probabilities, as a logit."""
        return mean_probability(outputs)

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return `loss`, the mean cross entropy, and `error`, the fraction of misclassified events."""
        images, labels = batch
        scores = model(images)[:, 0]
        return {
            "loss": F.binary_cross_entropy_with_logits(scores, labels),
            "error": ((scores > 0) != (labels > 0.5)).double().mean(),
        }
