"""Prediction of the next character of English or Vietnamese talks (Bengio et al. 2003)."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evodevo.errors import UsageError
from workers.combining import mean_distribution
from workers.data import characters
from workers.hyperparameters import Hyperparameters
from workers.images import decayed_kernels
from workers.stacked_layers import Stacked
from workers.stacked_masks import Masks, dropped, from_global_generator
from workers.stacking import stack
from workers.workload import Batch, Splits, Workload


class Characters(Workload):
    """An embedding of each of the last characters, one hidden layer of ReLUs over all of them, and a softmax.

    language, train_examples, validation_examples, test_examples, context: see `workers.data.characters.load`.
    embedding: numbers per character. units: of the hidden layer.

    Evolvable: learning_rate, and optionally dropout (of the hidden layer) and weight_decay, which is AdamW's:
    apart from the gradient, weights shrink by a fraction learning_rate * weight_decay at each step; biases do
    not.
    """

    def __init__(
        self,
        language: Literal["en", "vi"] = "en",
        train_examples: int | None = None,
        validation_examples: int | None = None,
        test_examples: int | None = None,
        context: int = 16,
        embedding: int = 16,
        units: int = 128,
        batch_size: int = 64,
    ) -> None:
        for name, value in (("embedding", embedding), ("units", units)):
            if value < 1:
                raise UsageError(f"workload.options.{name}: should be 1 or more, not {value}")
        self.language = language
        self.sizes = {
            "train_examples": train_examples,
            "validation_examples": validation_examples,
            "test_examples": test_examples,
        }
        self.context, self.embedding, self.units = context, embedding, units
        self.batch_size = batch_size

    def data(self, root: str | None) -> Splits:
        found = characters.load(root, self.language, context=self.context, **self.sizes)
        self.numbers = 1 + len(found.known)
        return found.splits

    def model(self) -> nn.Module:
        return NextCharacter(self.numbers, self.context, self.embedding, self.units)

    def optimizer(self, model: nn.Module, hp: Hyperparameters) -> torch.optim.Optimizer:
        groups = decayed_kernels(model, hp.get("weight_decay", 0.0))
        return torch.optim.AdamW(groups, lr=hp["learning_rate"], fused=True)

    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        contexts, following = batch
        return F.cross_entropy(model(contexts, hp.get("dropout", 0.0)), following)

    def combine(self, outputs: Sequence[Tensor]) -> Tensor:
        """Return the mean of the networks' distributions."""
        return mean_distribution(outputs)

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return `loss`, in nats per character, and `error`, the fraction of characters predicted wrongly."""
        contexts, following = batch
        scores = model(contexts)
        wrong = scores.argmax(1) != following
        return {"loss": F.cross_entropy(scores, following), "error": wrong.double().mean()}

    def facts(self) -> list[str]:
        return [*super().facts(), f"{self.numbers:,} characters, an unknown one among them"]


class NextCharacter(nn.Module):
    def __init__(self, numbers: int, context: int, embedding: int, units: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(numbers, embedding)
        self.hidden = nn.Linear(context * embedding, units)
        self.out = nn.Linear(units, numbers)

    def forward(self, contexts: Tensor, dropout: float = 0.0) -> Tensor:
        """Return scores float32 (n, numbers) for contexts int64 (n, context)."""
        hidden = F.relu(self.hidden(self.embedding(contexts).flatten(1)))
        scores: Tensor = self.out(F.dropout(hidden, dropout, self.training))
        return scores

    def stacked(self, count: int) -> nn.Module:
        return StackedNextCharacter(self, count)


class StackedNextCharacter(Stacked):
    def __init__(self, network: NextCharacter, count: int) -> None:
        super().__init__(network, count)
        self.embedding = stack(network.embedding, count)
        self.hidden = stack(network.hidden, count)
        self.out = stack(network.out, count)
        self.masks: Masks = from_global_generator

    def forward(self, contexts: Tensor, dropout: Tensor | None = None) -> Tensor:
        """Return scores float32 (K, n, numbers) for contexts int64 (K, n, context) and dropout rates (K)."""
        hidden = F.relu(self.hidden(self.embedding(contexts).flatten(2)))
        if dropout is not None and self.training:
            hidden = dropped(hidden, dropout, self.masks)
        scores: Tensor = self.out(hidden)
        return scores
