"""CANDLE's P3B1: one network for the primary site, the laterality and the grade of tumors in reports.

As in Pilot3/P3B1 of CANDLE's benchmarks, the tasks share a dense layer, and each has two more.
"""

import itertools
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evodevo.errors import UsageError
from workers import batches
from workers.combining import mean_distribution
from workers.data import p3b1
from workers.hyperparameters import Hyperparameters
from workers.images import decayed_kernels
from workers.topology import draw_as_keras
from workers.workload import Batch, Splits, Workload

LETTERS = {"site": "A", "laterality": "B", "grade": "C"}
"""The letter of each task in the names of its layers."""


class P3B1(Workload):
    """P3B1's network; all tasks and the benchmark's units, 1200 and 1200, 1200, give 9,151,219 parameters.

    tasks, fold, test_folds, validation_examples: see `workers.data.p3b1.load`. shared_units, task_units: of
    the shared layers and of each task's layers, one number per layer. Batches mix documents of all tasks.

    Evolvable: learning_rate (of SGD), and optionally momentum, dropout (after every layer but the last) and
    weight_decay (torch's, for kernels only: w times it is added to the gradient). Sizes of layers override
    the options: dense_sz2 of the last shared layer, dense_szA3 and dense_szA4 of the layers for the primary
    site, and likewise B for laterality and C for grade.

    f1: also report `f1_macro_<task>` and `f1_micro_<task>` (see `f1`).
    """

    def __init__(
        self,
        tasks: Sequence[str] = tuple(p3b1.TASKS),
        fold: int = 0,
        test_folds: int = 1,
        validation_examples: int = 200,
        shared_units: Sequence[int] = (1200,),
        task_units: Sequence[int] = (1200, 1200),
        batch_size: int = 10,
        f1: bool = False,
    ) -> None:
        for name, units in (("shared_units", shared_units), ("task_units", task_units)):
            if not units or min(units) < 1:
                raise UsageError(
                    f"workload.options.{name}: should be one or more numbers of at least 1, not {list(units)}"
                )
        self.tasks = tasks
        self.fold, self.test_folds, self.validation_examples = fold, test_folds, validation_examples
        self.shared_units, self.task_units = shared_units, task_units
        self.batch_size = batch_size
        self.f1 = f1

    def data(self, root: str | None) -> Splits:
        splits = p3b1.load(root, self.tasks, self.fold, self.test_folds, self.validation_examples)
        count = torch.bincount(splits.train[2])
        self.weights = (len(splits.train[2]) / count).to(self.device)
        """Weight of a document's loss by task, which makes the overall mean the sum of the tasks' means."""
        return splits

    def model(self) -> nn.Module:
        return self.model_of(Hyperparameters({}))

    def model_of(self, hp: Hyperparameters) -> nn.Module:
        *first, last = self.shared_units
        own = [
            [
                hp.get(f"dense_sz{LETTERS[task]}{number}", units)
                for number, units in enumerate(self.task_units, 3)
            ]
            for task in self.tasks
        ]
        classes = [p3b1.TASKS[task] for task in self.tasks]
        return MultiTask(p3b1.FEATURES, [*first, hp.get("dense_sz2", last)], own, classes)

    def optimizer(self, model: nn.Module, hp: Hyperparameters) -> torch.optim.Optimizer:
        groups = decayed_kernels(model, hp.get("weight_decay", 0.0))
        return torch.optim.SGD(groups, lr=hp["learning_rate"], momentum=hp.get("momentum", 0.0))

    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        """Return the sum of the tasks' cross entropies, estimated from the batch's documents."""
        documents, classes, tasks = batch
        losses = F.cross_entropy(model(documents, tasks, hp.get("dropout", 0.0)), classes, reduction="none")
        return (losses * self.weights[tasks]).mean()

    def combine(self, outputs: Sequence[Tensor]) -> Tensor:
        """Return the mean of the networks' distributions."""
        return mean_distribution(outputs)

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return a split's `loss`, the sum of the tasks' cross entropies, and `error_<task>` for each task.

        `error` is the mean of the tasks' errors. With the option `f1`, each task's F1 scores are added.
        """
        documents, classes, tasks = batch
        scores = model(documents, tasks)
        losses = F.cross_entropy(scores, classes, reduction="none")
        wrong = (scores.argmax(1) != classes).double()
        own = [tasks == number for number in range(len(self.tasks))]
        errors = [wrong[chosen].mean() for chosen in own]
        scored = [f1(scores[chosen].argmax(1), classes[chosen]) for chosen in own] if self.f1 else []
        return {
            "loss": torch.stack([losses[chosen].mean() for chosen in own]).sum(),
            "error": torch.stack(errors).mean(),
            **{f"error_{name}": error for name, error in zip(self.tasks, errors, strict=True)},
            **{
                f"f1_{kind}_{name}": value
                for name, both in zip(self.tasks, scored, strict=False)
                for kind, value in zip(("macro", "micro"), both, strict=True)
            },
        }

    def evaluation_batches(self, split: str) -> Iterator[Batch]:
        """Yield the split as one batch, as means over a task's documents cannot be averaged over batches."""
        if (tensors := getattr(self.splits, split)) is not None:
            yield batches.on_device(tensors, self.device)


class MultiTask(nn.Module):
    """A multi-task network of dense layers with ReLUs, first shared ones, then separate ones for each task.

    Parameters are initialised as in Keras: Glorot's uniform distribution, and zeros for biases.
    """

    def __init__(
        self,
        features: int,
        shared_units: Sequence[int],
        task_units: Sequence[Sequence[int]],
        classes: Sequence[int],
    ) -> None:
        """Make a network; `task_units` and `classes` have an entry for each task."""
        super().__init__()
        self.widest = max(classes)
        self.shared = dense([features, *shared_units])
        self.own = nn.ModuleList(dense([shared_units[-1], *units]) for units in task_units)
        self.out = nn.ModuleList(
            nn.Linear(units[-1], count) for units, count in zip(task_units, classes, strict=True)
        )
        self.apply(draw_as_keras)

    def forward(self, documents: Tensor, tasks: Tensor, dropout: float = 0.0) -> Tensor:
        """Return scores float32 (n, most classes) for documents float32 (n, features) of tasks int64 (n,).

        The scores of classes that a task lacks are minus infinity.
        """
        shared = self._through(self.shared, documents, dropout)
        scores = shared.new_full((len(documents), self.widest), -torch.inf)
        for number, (layers, out) in enumerate(zip(self.own, self.out, strict=True)):
            chosen = (tasks == number).nonzero()[:, 0]
            found = out(self._through(layers, shared[chosen], dropout))
            scores[chosen, : found.shape[1]] = found
        return scores

    def _through(self, layers: nn.Module, values: Tensor, dropout: float) -> Tensor:
        for layer in layers.children():
            values = F.dropout(F.relu(layer(values)), dropout, self.training)
        return values


def f1(predicted: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the macro and the micro F1 of predictions and true classes, both int64 (n,).

    A class's F1 is 2 TP / (2 TP + FP + FN), with its true positives, false positives and false negatives.
    Macro is the mean over the classes that occur in either, micro is the F1 of the sums over all classes,
    which is the accuracy, as each document has one class. The benchmark and scikit-learn's `f1_score` use the
    same definitions.
    """
    count = int(torch.maximum(predicted.max(), classes.max())) + 1
    both = torch.bincount(predicted, minlength=count) + torch.bincount(classes, minlength=count)
    hits = torch.bincount(classes[predicted == classes], minlength=count)
    occurs = both > 0
    macro = (2 * hits[occurs].double() / both[occurs]).mean()
    return macro, 2 * hits.sum().double() / both.sum()


def dense(widths: Sequence[int]) -> nn.ModuleList:
    return nn.ModuleList(nn.Linear(*pair) for pair in itertools.pairwise(widths))
