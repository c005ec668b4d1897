"""The class that a user subclasses."""

import hashlib
import inspect
import random
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evodevo.evolution import restarts
from tests.workers.conftest import UserModule
from tests.workers.toys import (
    HYPERPARAMETERS,
    Numbered,
    Toy,
    assignment,
    job,
    orders,
    prepared,
    run_one,
    section,
    trained,
)
from workers import workload
from workers.build import build
from workers.hyperparameters import Hyperparameters
from workers.workload import Batch, Splits, Training, Workload

IMPORTS = """\
import torch
import torch.nn.functional as F
from torch import nn
from workers.workload import Splits, Workload

images, labels = torch.randn(200, 1, 28, 28), torch.arange(200) % 10

"""


def example() -> str:
    """The class in the module's docstring, as a user would complete it."""
    text = inspect.cleandoc(workload.__doc__ or "")
    lines = text[text.index("    class Digits") :].split("\nThe metrics")[0]
    given = "validation=(...), test=(...)"
    assert given in lines
    return IMPORTS + textwrap.dedent(lines).replace(
        given, "validation=(images[:50], labels[:50]), test=(images[:10], labels[:10])"
    )


def test_the_example_in_the_docstring_is_a_complete_workload(user_module: UserModule, tmp_path: Path) -> None:
    use = f"{user_module(example())}:Digits"
    assert isinstance(build(section(use, batch_size=20)), Workload)
    about = job(tmp_path, section(use, batch_size=20))
    outcome = run_one(about, assignment(hyperparameters={"learning_rate": 0.1}))
    assert outcome.status == "done", outcome.error
    assert outcome.metrics.keys() == {"train_loss", "validation_loss"}
    assert outcome.fom == outcome.metrics["validation_loss"]


def test_the_example_in_the_docstring_can_be_read_in_a_minute() -> None:
    assert len((workload.__doc__ or "").splitlines()) <= 30


@pytest.mark.parametrize("batch_size", [1, 7, 16, 50, 99, 100])
def test_an_epoch_trains_whole_batches_and_no_example_twice(batch_size: int) -> None:
    batches = orders(prepared(Numbered(batch_size)), seed=3)
    assert [len(batch) for batch in batches] == [batch_size] * (100 // batch_size)
    seen = [number for batch in batches for number in batch]
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(range(100))


def test_a_training_split_smaller_than_a_batch_is_one_batch_with_all_of_it() -> None:
    (batch,) = orders(prepared(Numbered(1000)), seed=3)
    assert sorted(batch) == list(range(100))


def test_inputs_and_labels_stay_together() -> None:
    toy = prepared(Numbered())
    for inputs, labels in toy.train_batches(toy.begin(HYPERPARAMETERS, 3, None)):
        assert torch.equal(inputs, -labels)


def test_the_order_of_the_examples_comes_from_the_training_seed_and_from_nothing_else() -> None:
    toy = prepared(Numbered())
    order = orders(toy, seed=3)
    assert order != sorted(order)
    assert orders(toy, seed=4) != order
    parent = trained(prepared(Toy()))
    assert orders(toy, 3, hyperparameters={"learning_rate": 0.9, "momentum": 0.1}, parent=parent) == order
    training = toy.begin(HYPERPARAMETERS, 3, None)
    torch.manual_seed(99)  # a workload that draws in between, say for dropout
    assert [batch[0].tolist() for batch in toy.train_batches(training)] == order


def test_a_second_epoch_of_the_same_training_has_another_order() -> None:
    batches = orders(prepared(Numbered(50)), seed=3, epochs=2)
    assert batches[:2] != batches[2:]


class Uneven(Numbered):
    """Evaluated in batches of 500, 500 and 203."""

    evaluated = 1203


def test_evaluation_weighs_every_example_alike_though_the_last_batch_is_smaller() -> None:
    toy = prepared(Uneven())
    assert [len(batch[0]) for batch in toy.evaluation_batches("validation")] == [500, 500, 203]
    reported = toy.evaluate(toy.begin(HYPERPARAMETERS, 0, None), "validation")
    # by hand: the mean of 0..n-1 is (n - 1) / 2, that of their squares (n - 1)(2n - 1) / 6
    assert reported["validation_mean"] == pytest.approx(1202 / 2, rel=1e-6)
    assert reported["validation_mean_square"] == pytest.approx(1202 * 2405 / 6, rel=1e-6)


def test_a_large_batch_size_is_the_evaluations_too() -> None:
    toy = prepared(Uneven(600))
    assert [len(batch[0]) for batch in toy.evaluation_batches("validation")] == [600, 600, 3]


def test_a_split_that_is_not_there_has_no_metrics() -> None:
    toy = prepared(Numbered())
    assert toy.evaluate(toy.begin(HYPERPARAMETERS, 0, None), "test") == {}


class Watching(Toy):
    """Notes the modes in which it is trained and evaluated."""

    def __init__(self) -> None:
        super().__init__()
        self.modes: set[tuple[str, bool, bool]] = set()

    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        self.modes.add(("train", model.training, torch.is_grad_enabled()))
        return super().loss(model, batch, hp)

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor | float]:
        self.modes.add(("evaluate", model.training, torch.is_grad_enabled()))
        return dict(super().metrics(model, batch))


def test_a_model_is_in_training_mode_when_it_trains_and_not_when_it_is_evaluated() -> None:
    toy = Watching()
    prepared(toy)
    training = toy.begin(HYPERPARAMETERS, 0, None)
    for _ in range(2):
        losses = list(toy.train(training))
        toy.evaluate(training, "validation")
    assert toy.modes == {("train", True, True), ("evaluate", False, False)}
    assert len(losses) == 6 and not any(loss.requires_grad for loss in losses)
    toy.modes.clear()
    toy.rehearse(HYPERPARAMETERS)
    assert toy.modes == {("train", True, True), ("evaluate", False, False)}


class Sealed(torch.utils.data.Dataset[Any]):
    """Has two examples; to look at one is an error."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, at: int) -> Any:
        raise AssertionError("the test split was touched")


class SealedTest(Toy):
    def data(self, root: str | None) -> Splits:
        splits = super().data(root)
        return Splits(splits.train, splits.validation, Sealed())


def test_training_and_validation_never_touch_the_test_split(tmp_path: Path) -> None:
    sealed = prepared(SealedTest())
    with pytest.raises(AssertionError, match="was touched"):
        sealed.evaluate(sealed.begin(HYPERPARAMETERS, 0, None), "test")
    outcome = run_one(job(tmp_path, section("tests.workers.test_workload:SealedTest")), assignment())
    assert outcome.status == "done", outcome.error
    assert not [name for name in outcome.metrics if name.startswith("test")]
    assert outcome.metrics == run_one(job(tmp_path), assignment()).metrics


def test_the_same_seed_gives_the_same_bytes_in_this_process_and_in_another(
    elsewhere: dict[str, str],
) -> None:
    data = trained(prepared(Toy()))
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    assert trained(prepared(Toy())) == data
    assert trained(prepared(Toy()), seed=8) != data
    assert elsewhere["training"] == hashlib.sha256(data).hexdigest()


def test_every_global_generator_is_seeded_with_the_training_seed() -> None:
    toy = prepared(Toy())

    def draws(seed: int) -> tuple[float, float, float]:
        toy.begin(HYPERPARAMETERS, seed, None)
        return random.random(), float(np.random.random()), float(torch.rand(()))

    first, again, other = draws(3), draws(3), draws(4)
    assert first == again
    assert not set(first) & set(other)


def test_the_facts_are_the_number_of_parameters_and_the_sizes_of_the_splits() -> None:
    assert prepared(Toy()).facts() == [
        "83 parameters on cpu",
        "examples: train 100, validation 30, test 20",
    ]
    assert prepared(Numbered()).facts()[1] == "examples: train 100, validation 50"


def test_a_rehearsal_names_the_metrics_and_the_hyperparameters_that_were_read() -> None:
    metrics, read = prepared(Toy()).rehearse({**HYPERPARAMETERS, "unused": 1})
    assert metrics == ["validation_loss", "validation_accuracy"]
    assert read == {"learning_rate", "momentum", "weight_decay", "anneal", *restarts.LENGTHS}


class Annealed(Toy):
    """Remembers the learning rates that its steps were made with."""

    def step(self, training: Training, batch: Batch) -> Tensor:
        self.rates = [*getattr(self, "rates", []), training.optimizer.param_groups[0]["lr"]]
        return super().step(training, batch)


@pytest.mark.parametrize(("anneal", "last"), [(0.0, 0.05), (0.6, 0.025), (1.0, 0.05 / 6)])
def test_a_learning_rate_falls_within_the_epoch_as_far_as_anneal_says(anneal: float, last: float) -> None:
    toy = Annealed()
    trained(prepared(toy), {**HYPERPARAMETERS, "anneal": anneal})
    assert toy.rates == pytest.approx(np.linspace(0.05, last, 6))


def test_every_epoch_begins_with_the_learning_rate_again() -> None:
    toy = Annealed()
    member = prepared(toy).begin({**HYPERPARAMETERS, "anneal": 1.0}, 7, None)
    for _ in range(2):
        assert len(list(toy.train(member))) == 6
    assert toy.rates[:6] == toy.rates[6:]


def test_without_anneal_training_is_what_it_would_be_with_an_anneal_of_zero() -> None:
    assert trained(prepared(Toy())) == trained(prepared(Toy()), {**HYPERPARAMETERS, "anneal": 0.0})


def test_a_rehearsal_reads_anneal() -> None:
    assert "anneal" in prepared(Toy()).rehearse({**HYPERPARAMETERS, "anneal": 0.5})[1]


def test_a_learning_rate_never_turns_negative_however_many_batches_there_are() -> None:
    class Longer(Annealed):
        def train_batches(self, training: Training) -> Iterator[Batch]:
            for _ in range(2):
                yield from super().train_batches(training)

    toy = Longer()
    trained(prepared(toy), {**HYPERPARAMETERS, "anneal": 1.0})
    assert len(toy.rates) == 12
    assert min(toy.rates) == 0.0
