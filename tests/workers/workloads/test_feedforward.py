"""NaturalSelection's feed-forward network: its genes, Keras' initializers, its loss and its scores."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.configs import complaint
from tests.workers.made_images import CPU, bands
from workers.hyperparameters import Hyperparameters
from workers.workload import Splits
from workers.workloads import feedforward
from workers.workloads.feedforward import INITIALIZERS, FeedForward, initialise, layers_of

GENES: dict[str, Any] = {
    "optimizer": "adam",
    "initializer": "he_normal",
    "activation": "elu",
    "batch_size": 16,
    "input_dropout": 0.1,
    **{f"neurons{at}": neurons for at, neurons in enumerate([64, 0, 32, 0, 16])},
    **{f"dropout{at}": dropout for at, dropout in enumerate([0.0, 0.5, 0.2, 0.1, 0.3])},
}


def prepared(monkeypatch: pytest.MonkeyPatch, **options: Any) -> FeedForward:
    """The workload with 100 images of 16 x 16 pixels, which it is trained and validated with."""
    workload = FeedForward(**{"pixels": 16, **options})
    splits = Splits(bands(100), bands(100))
    monkeypatch.setattr(workload, "data", lambda root: splits)
    workload.prepare(CPU, None)
    return workload


@pytest.fixture
def workload(monkeypatch: pytest.MonkeyPatch) -> FeedForward:
    return prepared(monkeypatch)


def half(labels: Tensor, probabilities: Tensor) -> float:
    assert probabilities.shape == (len(labels), 10)
    assert float(probabilities.sum()) == pytest.approx(len(labels))
    return 0.5


def test_layers_of_no_neurons_are_absent_and_each_other_one_is_followed_by_its_dropout() -> None:
    assert len(GENES) == 15
    network = FeedForward().model_of(Hyperparameters(GENES))
    kinds = [type(layer) for layer in network.children()]
    assert kinds == [nn.Dropout, *[nn.Linear, nn.ELU, nn.Dropout] * 3, nn.Linear]
    widths = [layer.weight.shape for layer in network.children() if isinstance(layer, nn.Linear)]
    assert widths == [(64, 3072), (32, 64), (16, 32), (10, 16)]
    assert [layer.p for layer in network.children() if isinstance(layer, nn.Dropout)] == [0.1, 0.0, 0.2, 0.3]


def test_layers_may_be_all_alike() -> None:
    assert layers_of(Hyperparameters({"layers": 3, "neurons": 64, "dropout": 0.2})) == [(64, 0.2)] * 3
    assert layers_of(Hyperparameters({"layers": 0, "neurons": 64})) == []


@pytest.mark.parametrize("optimizer", ["adam", "adamax", "nadam"])
def test_it_overfits_a_hundred_images_with_each_optimizer(workload: FeedForward, optimizer: str) -> None:
    genes = {**GENES, **{name: 0.0 for name in GENES if "dropout" in name}}
    training = workload.begin({**genes, "optimizer": optimizer, "learning_rate": 0.003}, 0, None)
    before = workload.evaluate(training, "validation")
    for _ in range(20):
        assert len([float(loss) for loss in workload.train(training)]) == 100 // 16
    after = workload.evaluate(training, "validation")
    assert after["validation_loss"] < 0.5 * before["validation_loss"]
    assert before["validation_accuracy"] < 0.3
    assert after["validation_accuracy"] > 0.85


@pytest.mark.parametrize("size", [16, 32, 64])
def test_the_batch_size_is_a_gene(workload: FeedForward, size: int) -> None:
    training = workload.begin({**GENES, "batch_size": size}, 0, None)
    assert training.steps_per_epoch == 100 // size
    assert [len(labels) for _, labels in workload.train_batches(training)] == [size] * (100 // size)


def test_a_rehearsal_finds_nothing_wrong(workload: FeedForward) -> None:
    metrics, read = workload.rehearse(GENES, {**GENES, "optimizer": "nadam", "batch_size": 32})
    assert set(metrics) >= {"validation_loss", "validation_accuracy", "validation_f1"}
    assert read >= GENES.keys()


def test_inputs_are_scaled_and_their_mean_over_the_training_images_is_zero(workload: FeedForward) -> None:
    images, _ = workload.splits.train
    inputs = workload.centred(images)
    assert inputs.shape == (100, 768)
    torch.testing.assert_close(inputs.mean(0), torch.zeros(768), atol=1e-5, rtol=0)
    scaled = images.flatten(1).float() / 255
    torch.testing.assert_close(inputs - inputs[0], scaled - scaled[0], atol=1e-6, rtol=0)


def test_the_loss_is_the_binary_cross_entropy_of_softmax_probabilities() -> None:
    outputs, labels = torch.randn(6, 10), torch.arange(6)
    expected = F.binary_cross_entropy(outputs.softmax(1), F.one_hot(labels, 10).float())
    torch.testing.assert_close(FeedForward().criterion(outputs, labels), expected)
    hopeless = torch.full((1, 10), -1e4).index_fill(1, torch.tensor([3]), 1e4)
    assert FeedForward().criterion(hopeless, torch.tensor([0])).isfinite()


def test_scores_are_those_of_the_whole_split(workload: FeedForward, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = workload.splits.validation[1]
    given = labels.clone()
    given[labels == 2] = 3
    monkeypatch.setattr(workload, "centred", lambda images: F.one_hot(given, 10).float())
    found = workload.metrics(nn.Identity(), (labels, labels))
    twos, threes = int((labels == 2).sum()), int((labels == 3).sum())
    precision_of_3 = threes / (twos + threes)
    classes = len(labels.unique()) - 2
    assert found["accuracy"] == pytest.approx(1 - twos / len(labels))
    assert found["recall"] == pytest.approx((classes + 1) / 10)
    assert found["precision"] == pytest.approx((classes + precision_of_3) / 10)
    assert found["f1"] == pytest.approx((classes + 2 * precision_of_3 / (1 + precision_of_3)) / 10)


def test_a_score_may_be_any_function_of_labels_and_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = prepared(monkeypatch, score=f"{__name__}:half")
    training = workload.begin(GENES, 0, None)
    assert workload.evaluate(training, "validation")["validation_score"] == 0.5
    assert "validation_score" not in prepared(monkeypatch).evaluate(training, "validation")


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_weights_have_the_variance_of_keras_initializer(initializer: str) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(400, 200)
    initialise(layer, initializer)
    name, shape = initializer.split("_")
    variance = {"lecun": 1 / 400, "glorot": 2 / 600, "he": 2 / 400}[name]
    assert float(layer.weight.detach().var()) == pytest.approx(variance, rel=0.02)
    largest = (
        math.sqrt(3 * variance) if shape == "uniform" else 2 * math.sqrt(variance) / feedforward.TRUNCATED
    )
    assert 0.95 * largest < float(layer.weight.detach().abs().max()) <= largest
    assert not layer.bias.any()


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"optimizer": "sgd"}, "search.loci.optimizer: should be one of adam, adamax, nadam, not 'sgd'"),
        ({"initializer": "orthogonal"}, "search.loci.initializer: should be one of lecun_uniform"),
        ({"activation": "tanh"}, "search.loci.activation: should be one of relu, elu, not 'tanh'"),
        ({"batch_size": 0}, "search.loci.batch_size: should be a whole number, 1 or more, not 0"),
        ({"neurons2": -1}, "search.loci.neurons2: should be a whole number, 0 or more, not -1"),
        ({"neurons2": 1.5}, "search.loci.neurons2: should be a whole number, 0 or more, not 1.5"),
        ({"dropout0": 1.0}, "search.loci.dropout0: should be a number from 0 to below 1, not 1.0"),
        ({"input_dropout": "0"}, "search.loci.input_dropout: should be a number"),
        ({"layers": -2, "neurons": 16}, "search.loci.layers: should be a whole number, 0 or more, not -2"),
    ],
    ids=str,
)
def test_values_that_cannot_be_are_refused(workload: FeedForward, wrong: dict[str, Any], said: str) -> None:
    assert said in complaint(lambda: workload.begin({**GENES, **wrong}, 0, None))


@pytest.mark.parametrize(
    ("score", "why"),
    [
        ("nowhere:score", "cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
        ("math", "should be an import path, module:function"),
        ("math:nothing", "cannot be imported: AttributeError: module 'math' has no attribute 'nothing'"),
        ("math:pi", "is not a function"),
    ],
)
def test_a_score_that_cannot_be_used_is_refused(score: str, why: str) -> None:
    said = complaint(lambda: FeedForward(score=score))
    assert said.startswith(f"workload.options.score: {score!r} {why}")
