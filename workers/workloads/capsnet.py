"""A capsule network on CIFAR-10: Keras' example cifar10_cnn_capsule, routed as in Sabour et al. 2017."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evodevo.errors import UsageError
from workers.dropblock import DropBlock, dropblock_of
from workers.hyperparameters import Hyperparameters
from workers.images import ImageClassifier, decayed_kernels
from workers.stacked_layers import Stacked
from workers.stacking import stack
from workers.topology import draw_as_keras
from workers.workload import Leg, Training

CLASSES, CAPSULE_SIZE = 10, 16
MARGIN_PRESENT, MARGIN_ABSENT, ABSENT_WEIGHT = 0.9, 0.1, 0.5


class CapsNet(ImageClassifier):
    """A capsule network of 280,640 parameters; the score of a class is the length of its 16-d capsule.

    Evolvable: learning_rate, and optionally weight_decay (torch's, for kernels only), q (default 1/2) and
    routings (default 3), the number of iterations, 1 or more. DropBlock, with the hyperparameter dropblock,
    precedes the capsules.
    """

    batch_size = 128

    def model(self) -> "CapsuleNetwork":
        return CapsuleNetwork()

    def model_of(self, hp: Hyperparameters) -> "CapsuleNetwork":
        return CapsuleNetwork(dropblock_of(hp))

    def optimizer(self, model: nn.Module, hp: Hyperparameters) -> torch.optim.Optimizer:
        return torch.optim.Adam(decayed_kernels(model, hp.get("weight_decay", 0.0)), lr=hp["learning_rate"])

    def begin(
        self,
        hyperparameters: Mapping[str, Any],
        training_seed: int,
        parent: bytes | None,
        leg: Leg = Leg(),  # noqa: B008
    ) -> Training:
        """Return a member; raise `UsageError` for an invalid q or number of routings."""
        training = super().begin(hyperparameters, training_seed, parent, leg)
        hp = training.hyperparameters
        # The model has them, as evaluation needs them and `metrics` receives only the model.
        for model in (training.model, training.judged):
            assert isinstance(model, CapsuleNetwork)
            model.q, model.routings = checked(hp.get("q", model.q), hp.get("routings", model.routings))
        return training

    def combine(self, outputs: Sequence[Tensor]) -> Tensor:
        """Return the mean of the networks' lengths, each of which represents the probability of a class."""
        return torch.stack(list(outputs)).mean(0)

    def criterion(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return margin_loss(outputs, labels)


class CapsuleNetwork(nn.Module):
    per_member: ClassVar[tuple[str, ...]] = ("q",)
    """Attributes that a captured step reads from tensors, so that it can be reused with other values."""

    def __init__(self, drop: DropBlock | None = None) -> None:
        super().__init__()
        self.q = 0.5
        self.routings = 3
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 3), nn.ReLU(),
            nn.Conv2d(64, 64, 3), nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(64, 128, 3), nn.ReLU(),
            nn.Conv2d(128, 128, 3), nn.ReLU(),
            *([] if drop is None else [drop]),
        )  # fmt: skip
        self.predictions = nn.Linear(128, CLASSES * CAPSULE_SIZE, bias=False)
        self.apply(draw_as_keras)

    def forward(self, images: Tensor) -> Tensor:
        """Return lengths float32 (n, 10) for images (n, 3, 32, 32), 100 positions, or (n, 3, 16, 16), 4."""
        features = self.features(images).flatten(2).transpose(1, 2)  # (n, positions, 128)
        predicted = self.predictions(features).unflatten(2, (CLASSES, CAPSULE_SIZE)).transpose(1, 2)
        with torch.autocast(images.device.type, enabled=False):  # sums over positions need float32
            capsules = route(predicted.float(), self.routings, self.q)
            lengths: Tensor = torch.linalg.vector_norm(capsules, dim=2)
        return lengths

    def stacked(self, count: int) -> nn.Module:
        return StackedCapsules(self, count)


class StackedCapsules(Stacked):
    """The stacked form of `CapsuleNetwork`; q may differ between members, the number of routings may not."""

    per_member = ("q",)
    q: Tensor

    def __init__(self, network: CapsuleNetwork, count: int) -> None:
        super().__init__(network, count)
        self.routings = network.routings
        self.features = stack(network.features, count)
        self.predictions = stack(network.predictions, count)

    def forward(self, images: Tensor) -> Tensor:
        """Return lengths float32 (K, n, 10) for images (K, n, 3, pixels, pixels)."""
        features = self.features(images).flatten(3).transpose(2, 3)  # (K, n, positions, 128)
        predicted = self.predictions(features).unflatten(3, (CLASSES, CAPSULE_SIZE)).transpose(2, 3)
        with torch.autocast(images.device.type, enabled=False):
            capsules = route(predicted.float(), self.routings, self.q.float().view(-1, 1, 1, 1))
            lengths: Tensor = torch.linalg.vector_norm(capsules, dim=3)
        return lengths


def route(predicted: Tensor, routings: int, q: float | Tensor) -> Tensor:
    """Return output capsules by dynamic routing (Sabour et al. 2017, arXiv 1710.09829, procedure 1).

    predicted: each position's prediction of each output capsule, (..., capsules, positions, size).
    The output capsules, (..., capsules, size), are all shorter than 1.
    """
    agreement = predicted.new_zeros(predicted.shape[:-1])
    for iteration in range(routings):
        coupling = agreement.softmax(-2)  # each position's sums to 1 over the capsules
        capsules = squash((coupling.unsqueeze(-2) @ predicted).squeeze(-2), q)
        if iteration < routings - 1:
            agreement = agreement + (predicted @ capsules.unsqueeze(-1)).squeeze(-1)
    return capsules


def squash(vectors: Tensor, q: float | Tensor) -> Tensor:
    """Shorten each vector s, along the last dimension: |s|² / (q + |s|²) s / |s|; 0 stays 0.

    q is 1 in Sabour et al., and 1/2 in Keras' example. The gradient at 0 is 0.
    """
    length: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors * (length / (q + length.square()))


def margin_loss(lengths: Tensor, labels: Tensor) -> Tensor:
    """Return the margin loss (Sabour et al. 2017, equation 4), summed over classes, averaged over the batch.

    lengths: float32 (n, 10); labels: int64 (n,), or float32 (n, 10), a fraction of each class.
    """
    present = labels if labels.is_floating_point() else F.one_hot(labels, lengths.shape[1])
    missed = F.relu(MARGIN_PRESENT - lengths).square()
    claimed = F.relu(lengths - MARGIN_ABSENT).square()
    return (present * missed + ABSENT_WEIGHT * (1 - present) * claimed).sum(1).mean()


def checked(q: float, routings: int) -> tuple[float, int]:
    if not q > 0:
        raise UsageError(f"search.loci.q: should be more than 0, not {q}")
    if routings < 1 or routings != int(routings):
        raise UsageError(f"search.loci.routings: should be a whole number, 1 or more, not {routings}")
    return q, int(routings)
