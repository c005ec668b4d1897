"""The network of the last characters: its shape, options, and what its hyperparameters do."""

from pathlib import Path

import pytest
import torch

from evodevo.config_file import load
from evodevo.errors import UsageError
from tests.golden import assert_golden
from tests.workers.conftest import REPOSITORY
from workers.build import build
from workers.data import translation
from workers.hyperparameters import Hyperparameters
from workers.workloads.characters import Characters, NextCharacter

HP = {"learning_rate": 0.01, "dropout": 0.2, "weight_decay": 0.1}


@pytest.fixture
def characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Characters:
    """The alphabet over and over, so that each letter tells the next one."""
    monkeypatch.setattr(translation, "LINES", {"tst2012": 40, "tst2013": 10})
    for name, lines in (("tst2012", 40), ("tst2013", 10)):
        (tmp_path / f"{name}.en").write_text("abcdefghij\n" * lines)
    workload = Characters(context=3, embedding=4, units=16, batch_size=20)
    workload.prepare(torch.device("cpu"), str(tmp_path))
    return workload


def test_its_parameters_are_an_embedding_and_two_linear_layers() -> None:
    model = NextCharacter(numbers=74, context=8, embedding=8, units=96)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == 74 * 8 + (8 * 8 + 1) * 96 + (96 + 1) * 74
    assert model(torch.zeros(5, 8, dtype=torch.int64)).shape == (5, 74)


def test_it_learns_the_alphabet(characters: Characters) -> None:
    training = characters.begin(HP, 0, None)
    untrained = characters.evaluate(training, "test")
    for _ in range(20):
        for _ in characters.train(training):
            pass
    trained = characters.evaluate(training, "test")
    assert untrained["test_error"] > 0.5
    assert trained["test_error"] == 0.0
    assert trained["test_loss"] < 0.2 < untrained["test_loss"]


def test_the_loss_is_the_mean_in_nats_and_the_error_the_part_that_is_wrong(characters: Characters) -> None:
    training = characters.begin(HP, 0, None)
    contexts, following = characters.splits.validation
    with torch.no_grad():
        scores = training.model.eval()(contexts).double()
    chosen = scores.log_softmax(1)[torch.arange(len(following)), following]
    found = characters.evaluate(training, "validation")
    assert found["validation_loss"] == pytest.approx(-float(chosen.mean()), rel=1e-5)
    assert found["validation_error"] == float((scores.argmax(1) != following).double().mean())


def test_dropout_is_of_training_only(characters: Characters) -> None:
    model, batch = characters.model(), characters.splits.train
    losses = [
        characters.loss(model, batch, Hyperparameters({"dropout": rate})).item() for rate in (0.0, 0.5, 0.5)
    ]
    assert len(set(losses)) == 3
    judged = [
        characters.evaluate(characters.begin({**HP, "dropout": rate}, 0, None), "test") for rate in (0, 0.5)
    ]
    assert judged[0] == judged[1]


def test_weights_decay_by_the_learning_rate_times_weight_decay_and_biases_do_not(
    characters: Characters,
) -> None:
    model = characters.model()
    optimizer = characters.optimizer(model, Hyperparameters({"learning_rate": 0.5, "weight_decay": 0.1}))
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, value in model.named_parameters():
        torch.testing.assert_close(value, before[name] * (1.0 if name.endswith("bias") else 0.95))


@pytest.mark.parametrize("name", ["embedding", "units"])
def test_a_size_below_1_is_refused_by_its_option(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        Characters(**{name: 0})
    assert str(caught.value).startswith(f"workload.options.{name}: ")
    assert_golden("characters/size-zero", str(caught.value), option=name)


def test_its_config_has_loci_that_it_reads_and_a_metric_that_it_gives(characters: Characters) -> None:
    config = load(REPOSITORY / "configs" / "small" / "characters.yaml")
    assert isinstance(build(config.workload.model_dump()), Characters)
    metrics, read = characters.rehearse({name: locus.initial for name, locus in config.search.loci.items()})  # type: ignore[union-attr]
    assert config.objective.metric in metrics
    assert read >= set(config.search.loci)
