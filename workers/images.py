"""The base class of the CIFAR-10 workloads: data, normalisation, augmentation, precision and metrics."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workers import soft_labels
from workers.augment import flipped, flips, shifted, shifts
from workers.combining import mean_distribution
from workers.data import cifar10
from workers.hyperparameters import Hyperparameters
from workers.precision import Precision, casts_to
from workers.workload import Batch, Leg, Splits, Training, Workload

Capture = Literal["auto", "never"]
CLASSES = 10
LARGEST_SHIFT = 0.1
"""Maximum shift as a fraction of the width or height."""


class ImageClassifier(Workload):
    """A classifier of images, float32 (n, 3, pixels, pixels), into ten class scores (n, 10).

    A subclass defines `model` and `optimizer`, and `criterion` if it is not the cross entropy. Images stay on
    the device as bytes. In every batch they are scaled to [0, 1], the mean of each pixel over the *training*
    split is subtracted, and in training they are shifted by up to 10 % each way and half of them mirrored
    (He et al. 2015, section 4.2, and Keras' cifar10_resnet; the latter's figures).

    All can evolve the backbone's share of YOLOv4's recipe, off by default: cutmix, mosaic and
    label_smoothing (see `workers.soft_labels`), dropblock and dropblock_size (see `workers.dropblock`).

    batch_size: None is the class's. precision: of the network in training. bfloat16 is autocast, with
    parameters in float32; None is bfloat16 on a GPU that supports it and float32 otherwise. Evaluation is in
    float32, so that figures of merit are comparable. compile, capture: see `Workload`. The other options are
    those of `workers.data.cifar10.load`.
    """

    mean: Tensor
    """Mean of the training images, scaled to [0, 1]: float32 (3, pixels, pixels)."""

    def __init__(
        self,
        batch_size: int | None = None,
        train_examples: int | None = None,
        validation_examples: int = 5000,
        test_examples: int | None = None,
        pixels: int = 32,
        precision: Precision | None = None,
        compile: bool = False,
        capture: Capture = "auto",
    ) -> None:
        self.batch_size = self.batch_size if batch_size is None else batch_size
        self.train_examples = train_examples
        self.validation_examples = validation_examples
        self.test_examples = test_examples
        self.pixels = pixels
        self.precision = precision
        self.compile, self.capture = compile, capture

    def data(self, root: str | None) -> Splits:
        return cifar10.load(
            root, self.train_examples, self.validation_examples, self.test_examples, self.pixels
        )

    def prepare(self, device: torch.device, data_root: str | None) -> None:
        super().prepare(device, data_root)
        self.mean = mean_image(self.splits.train[0])

    def begin(
        self,
        hyperparameters: Mapping[str, Any],
        training_seed: int,
        parent: bytes | None,
        leg: Leg = Leg(),  # noqa: B008
    ) -> Training:
        """Return a member with all tensors in the channels_last layout, which is faster.

        Checkpoints do not record the layout. The average and a restored momentum get their parameter's, as
        arithmetic on mixed layouts is slower.
        """
        training = super().begin(hyperparameters, training_seed, parent, leg)
        for model in (training.model, training.judged):
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for parameter, state in training.optimizer.state.items():
            for key, value in state.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    state[key] = torch.empty_like(parameter).copy_(value).detach()
        return training

    def draws(self, batch: Batch, hp: Hyperparameters) -> Any:
        """Draw how far each image is moved, int64 (n, 2), and whether it is mirrored, bool (n,).

        The result of `soft_labels.drawn` follows unless it is None.
        """
        count = len(batch[0])
        own = shifts(count, round(LARGEST_SHIFT * self.pixels)), flips(count)
        mixing = soft_labels.drawn(batch[0].shape, hp)
        return own if mixing is None else (*own, mixing)

    def augment(self, batch: Batch, drawn: Any, hp: Hyperparameters) -> Batch:
        images, labels = batch
        moves, mirror, *mixing = drawn
        images = flipped(shifted(self.normalised(images), moves), mirror)
        return soft_labels.softened(images, labels, mixing[0], CLASSES) if mixing else (images, labels)

    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        inputs, labels = batch
        with self._in_precision():
            outputs = model(inputs.contiguous(memory_format=torch.channels_last))
        return self.criterion(outputs.float(), labels)

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return `loss`, the criterion, and `error`, the fraction of misclassified images."""
        images, labels = batch
        outputs = model(self.normalised(images).contiguous(memory_format=torch.channels_last))
        wrong = outputs.argmax(1) != labels
        return {"loss": self.criterion(outputs, labels), "error": wrong.double().mean()}

    def combine(self, outputs: Sequence[Tensor]) -> Tensor:
        """Return the mean of the networks' distributions."""
        return mean_distribution(outputs)

    def criterion(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of outputs float32 (n, 10) for labels int64 (n,) or float32 (n, 10)."""
        return F.cross_entropy(outputs, labels)

    def normalised(self, images: Tensor) -> Tensor:
        """Return images, bytes (n, 3, pixels, pixels), scaled and with the mean subtracted, as float32."""
        return images.float().div_(255).sub_(self.mean)

    def casts_to(self) -> torch.dtype | None:
        return casts_to(self.precision, self.device)


def mean_image(images: Tensor) -> Tensor:
    """Return the mean of bytes (n, 3, height, width), scaled to [0, 1]: float32 (3, height, width).

    The sum is exact, so that every device gets the same mean.
    """
    total = torch.zeros(images.shape[1:], dtype=torch.int64, device=images.device)
    for start in range(0, len(images), 1000):
        total += images[start : start + 1000].sum(0, dtype=torch.int64)
    return (total.double() / (255 * len(images))).float()


def decayed_kernels(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return parameter groups for an optimizer in which only kernels (convolutional and linear) decay."""
    kernels = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    return [{"params": kernels, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
