"""The network of RPV images: its published sizes, its loci, and what it makes of made-up events."""

from typing import Any

import pytest
import torch
from torch import nn

from evodevo.config_file import load
from evodevo.errors import UsageError
from tests.workers.conftest import REPOSITORY
from workers.hyperparameters import Hyperparameters
from workers.workloads.rpv import ORIGINAL, RPV

SMALL: dict[str, Any] = {
    **{"synthetic": True, "pixels": 16, "train_examples": 512, "validation_examples": 256, "batch_size": 32}
}


@pytest.fixture(scope="module")
def workload() -> RPV:
    found = RPV(**SMALL)
    found.prepare(torch.device("cpu"), None)
    return found


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_it_has_the_number_of_parameters_that_the_public_notebook_prints() -> None:
    """DistTrain_rpv.ipynb of sparticlesteve/cori-intml-examples: "Total params: 547,841", layer by layer."""
    hp = {"conv_filters1": 16, "conv_filters2": 32, "conv_filters3": 64, "dense_sz": 128}
    model = RPV(channels=["hist"]).model_of(Hyperparameters(hp))
    sizes = [size(layer) for layer in model.children() if size(layer)]
    assert sizes == [160, 4640, 18496, 524416, 129]
    assert size(model) == 547_841


def test_the_original_on_three_channels_has_the_number_that_its_docstring_says() -> None:
    model = RPV().model()
    assert f"{size(model):,} parameters" in str(RPV.__doc__)
    assert size(model) == 224 + 1168 + 4640 + (8 * 8 * 32 * 64 + 64) + 65
    assert [layer.p for layer in model.children() if isinstance(layer, nn.Dropout)] == [0.5, 0.5]


@pytest.mark.parametrize("kernel", range(2, 10))
@pytest.mark.parametrize("pixels", [8, 13, 64])
def test_every_kernel_works_on_images_of_every_size(kernel: int, pixels: int) -> None:
    options = {**SMALL, "pixels": pixels}
    hp = {f"conv_kernel_sz{number}": kernel for number in (1, 2, 3)}
    model = RPV(**options).model_of(Hyperparameters(hp))
    assert model(torch.zeros(2, 3, pixels, pixels)).shape == (2, 1)


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        (None, torch.optim.Adam, {"eps": 1e-7}),
        ("Adam", torch.optim.Adam, {"eps": 1e-7}),
        ("NAdam", torch.optim.NAdam, {"eps": 1e-7, "momentum_decay": 0.004}),
        ("Adadelta", torch.optim.Adadelta, {"eps": 1e-7, "rho": 0.95}),
    ],
)
def test_the_optimizer_is_a_locus_with_keras_settings(
    name: str | None, kind: type, settings: dict[str, float]
) -> None:
    hp = {"learning_rate": 0.1, **({"optimizer": name} if name else {})}
    optimizer = RPV().optimizer(nn.Linear(1, 1), Hyperparameters(hp))
    assert type(optimizer) is kind
    group = optimizer.param_groups[0]
    assert {key: group[key] for key in ("lr", *settings)} == {"lr": 0.1, **settings}


def test_another_optimizer_is_refused_by_its_locus() -> None:
    with pytest.raises(UsageError) as caught:
        RPV().optimizer(nn.Linear(1, 1), Hyperparameters({"learning_rate": 0.1, "optimizer": "SGD"}))
    message = "search.loci.optimizer: should be among Adam, NAdam, Adadelta, not SGD"
    assert str(caught.value) == message


def test_it_learns_to_tell_made_up_events_apart(workload: RPV) -> None:
    hp = {"learning_rate": 3e-3, "dropout": 0.1}
    training = workload.begin(hp, 0, None)
    before = workload.evaluate(training, "validation")
    for _ in range(8):
        for _ in workload.train(training):
            pass
    after = workload.evaluate(training, "validation")
    assert before["validation_error"] > 0.4
    assert after["validation_error"] < 0.3
    assert after["validation_loss"] < before["validation_loss"] - 0.1


def test_the_metrics_of_a_split_are_the_cross_entropy_and_the_part_that_is_wrong(workload: RPV) -> None:
    training = workload.begin({"learning_rate": 1e-3}, 0, None)
    images, labels = workload.splits.validation
    with torch.no_grad():
        chances = training.model.eval()(images)[:, 0].double().sigmoid()
    found = workload.evaluate(training, "validation")
    right = torch.where(labels > 0.5, chances, 1 - chances)
    assert found["validation_loss"] == pytest.approx(-float(right.log().mean()), rel=1e-5)
    assert found["validation_error"] == int((right < 0.5).sum()) / len(labels)


AMONG = "should be one or more of hist, histEM, histtrack, each once"
NO_FILE = "is required with synthetic: true, as no file determines the number of events"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_examples": 0}, "train_examples: should be 1 or more, not 0"),
        ({"train_examples": None}, f"train_examples: {NO_FILE}"),
        ({"channels": []}, f"channels: {AMONG}, not none"),
        ({"channels": ["hist", "em"]}, f"channels: {AMONG}, not hist, em"),
        ({"channels": ["hist", "hist"]}, f"channels: {AMONG}, not hist, hist"),
        ({"pixels": 7}, "pixels: should be 8 or more, not 7"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        RPV(**{**SMALL, **options})
    assert str(caught.value) == f"workload.options.{message}"


@pytest.mark.parametrize("name", ["rpv.yaml", "small/rpv.yaml"])
def test_its_configs_begin_with_the_original_and_have_loci_that_it_reads(name: str, workload: RPV) -> None:
    config = load(REPOSITORY / "configs" / name)
    given: dict[str, Any] = {locus: found.initial for locus, found in config.search.loci.items()}  # type: ignore[union-attr]
    assert {key: given[key] for key in ORIGINAL} == ORIGINAL
    assert (given["learning_rate"], given["dropout"], given["optimizer"]) == (1e-3, 0.5, "Adam")
    metrics, read = workload.rehearse(given)
    assert config.objective.metric in metrics
    assert read >= set(config.search.loci)
