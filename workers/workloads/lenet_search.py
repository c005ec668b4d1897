"""The LeNet of TensorFlow's MNIST tutorial, 3,274,634 parameters, with all sizes as hyperparameters.

It follows the "Deep MNIST for Experts" tutorial and CrayAI's public example that searches its topology
(`hpo/mnist-topology` of NERSC/sc19-dl-tutorial): two convolutions with stride 1 whose output is as large as
their input, each with a ReLU and 2 x 2 max pooling, a dense layer with a ReLU and dropout, and ten scores;
Adam, with batches of 100 as in the example (50 in the tutorial).
"""

import dataclasses
from typing import Literal

import torch
from torch import nn

from evodevo.errors import UsageError
from workers.data.mnist import DEVIATION, MEAN
from workers.hyperparameters import Hyperparameters
from workers.precision import Precision
from workers.topology import draw_as_tutorial, same_convolution
from workers.workload import Splits
from workers.workloads.lenet import LeNet

ORIGINAL = {
    **{"conv_kernel_sz1": 5, "conv_kernel_sz2": 5},
    **{"conv_filters1": 32, "conv_filters2": 64, "dense_sz": 1024},
}
DROPOUT = 0.5


class SearchedLeNet(LeNet):
    """The tutorial's LeNet, trained by Adam.

    Evolvable: learning_rate, and optionally the sizes of `ORIGINAL` and dropout.

    conv_kernel_sz1, conv_kernel_sz2: height and width of the kernels. dropout: the fraction of the dense
    layer's outputs that is dropped in training. (In CrayAI's example that flag is the fraction that is kept.)
    Pixels are in [0, 1], as there. train_examples, validation_examples: number of digits of the split to use,
    the first ones (None: all). precision, compile, capture: see `LeNet`.
    """

    def __init__(
        self,
        batch_size: int = 100,
        train_examples: int | None = None,
        validation_examples: int | None = None,
        precision: Precision | None = None,
        compile: bool = False,
        capture: Literal["auto", "never"] = "auto",
    ) -> None:
        super().__init__(batch_size, train_examples, precision, compile, capture)
        if validation_examples is not None and validation_examples < 1:
            raise UsageError(
                f"workload.options.validation_examples: should be 1 or more, not {validation_examples}"
            )
        self.validation_examples = validation_examples

    def data(self, root: str | None) -> Splits:
        splits = super().data(root)
        images, labels = splits.validation
        count = self.validation_examples
        if count is not None and count > len(labels):
            raise UsageError(
                f"workload.options.validation_examples: should be at most {len(labels):,}, the validation "
                f"digits, not {count:,}"
            )
        splits = dataclasses.replace(splits, validation=(images[:count], labels[:count]))
        for images, _ in (splits.train, splits.validation, splits.test):
            images.mul_(DEVIATION).add_(MEAN)
        return splits

    def model(self) -> nn.Module:
        return self.model_of(Hyperparameters({}))

    def model_of(self, hp: Hyperparameters) -> nn.Module:
        kernels, filters = (
            [hp.get(name, ORIGINAL[name]) for name in (f"{what}1", f"{what}2")]
            for what in ("conv_kernel_sz", "conv_filters")
        )
        units = hp.get("dense_sz", ORIGINAL["dense_sz"])
        model = nn.Sequential(
            *same_convolution(1, filters[0], kernels[0]), nn.ReLU(), nn.MaxPool2d(2),
            *same_convolution(filters[0], filters[1], kernels[1]), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(7 * 7 * filters[1], units), nn.ReLU(), nn.Dropout(hp.get("dropout", DROPOUT)),
            nn.Linear(units, 10),
        )  # fmt: skip
        return model.apply(draw_as_tutorial)

    def optimizer(self, model: nn.Module, hp: Hyperparameters) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), lr=hp["learning_rate"])
