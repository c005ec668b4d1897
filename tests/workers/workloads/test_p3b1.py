"""P3B1's network: shared and own layers, the sum of the tasks' losses, and its metrics."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from evodevo.config_file import load
from evodevo.errors import UsageError
from tests.workers.conftest import REPOSITORY
from tests.workers.data.test_p3b1 import made
from workers import batches
from workers.build import build
from workers.hyperparameters import Hyperparameters
from workers.workloads.p3b1 import P3B1, MultiTask

HP = {"learning_rate": 0.01, "dropout": 0.0}
SMALL: dict[str, Any] = {"validation_examples": 8, "shared_units": [16], "task_units": [8, 8]}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(made(tmp_path_factory.mktemp("data")))


def prepared(root: str, **options: Any) -> P3B1:
    workload = P3B1(**{**SMALL, **options})
    workload.prepare(torch.device("cpu"), root)
    return workload


@pytest.fixture(scope="module")
def workload(root: str) -> P3B1:
    return prepared(root)


def test_it_has_the_number_of_parameters_that_its_docstring_says() -> None:
    count = sum(parameter.numel() for parameter in P3B1().model().parameters())
    assert f"{count:,} parameters" in str(P3B1.__doc__)
    assert count == 481_200 + 6 * 1_441_200 + 15_613 + 2_402 + 4_804  # of the benchmark's printed summary


def test_each_task_has_scores_for_its_own_classes_from_layers_of_its_own() -> None:
    model = MultiTask(400, [16], [[8, 8]] * 3, [13, 2, 4])
    tasks = torch.tensor([2, 0, 1, 0])
    scores = model(torch.rand(4, 400), tasks)
    assert scores.isfinite().sum(1).tolist() == [4, 13, 2, 13]
    scores[1:, :2].sum().backward()
    assert model.shared[0].weight.grad is not None
    assert all(float(layer.weight.grad.abs().sum()) > 0 for layer in model.own[0])
    assert all(float(layer.weight.grad.abs().sum()) == 0 for layer in model.own[2])


def test_a_document_s_scores_do_not_depend_on_the_others_of_its_batch(workload: P3B1) -> None:
    model = workload.model().eval()
    documents, _, tasks = workload.splits.validation
    alone = [model(documents[place : place + 1], tasks[place : place + 1])[0] for place in range(len(tasks))]
    torch.testing.assert_close(model(documents, tasks), torch.stack(alone))


def test_the_loss_of_all_documents_is_the_sum_of_the_tasks_cross_entropies(root: str) -> None:
    workload = prepared(root)
    train = tuple(tensor[:50] for tensor in workload.splits.train)  # 28 of site, 22 of laterality
    workload.weights = 50 / train[2].bincount()
    model = workload.model()
    documents, classes, tasks = train
    expected = sum(
        F.cross_entropy(model(documents, tasks)[tasks == number], classes[tasks == number])
        for number in (0, 1)
    )
    found = workload.loss(model, train, Hyperparameters({}))
    assert tasks.bincount().tolist() == [28, 22]
    torch.testing.assert_close(found, expected)


def test_the_weights_are_those_of_the_training_documents(workload: P3B1) -> None:
    total = workload.weights * workload.splits.train[2].bincount()
    torch.testing.assert_close(total, torch.full((3,), 84.0))


def test_the_metrics_are_of_whole_tasks(workload: P3B1, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "EVALUATION_BATCH", 5)  # of usual splits, whose batches are averaged
    training = workload.begin(HP, 0, None)
    documents, classes, tasks = workload.splits.test
    with torch.no_grad():
        scores = training.model.eval()(documents, tasks)
    found = workload.evaluate(training, "test")
    errors, losses = [], []
    for number, name in enumerate(("site", "laterality", "grade")):
        own = tasks == number
        errors.append(float((scores[own].argmax(1) != classes[own]).double().mean()))
        losses.append(float(F.cross_entropy(scores[own], classes[own])))
        assert found[f"test_error_{name}"] == pytest.approx(errors[-1])
    assert found["test_error"] == pytest.approx(sum(errors) / 3)
    assert found["test_loss"] == pytest.approx(sum(losses), rel=1e-5)


def test_it_learns_classes_that_the_documents_tell(workload: P3B1) -> None:
    training = workload.begin(HP, 0, None)
    first = workload.evaluate(training, "train")["train_loss"]
    for _ in range(30):
        for _ in workload.train(training):
            pass
    assert workload.evaluate(training, "train")["train_loss"] < 0.5 * first


def test_with_one_task_there_are_its_metrics_only(root: str) -> None:
    workload = prepared(root, tasks=["laterality"])
    found = workload.evaluate(workload.begin(HP, 0, None), "validation")
    assert set(found) == {"validation_loss", "validation_error", "validation_error_laterality"}


def test_dropout_is_of_training_only(workload: P3B1) -> None:
    model, batch = workload.model(), workload.splits.train
    plain, dropped = (
        workload.loss(model, batch, Hyperparameters({"dropout": rate})).item() for rate in (0.0, 0.5)
    )
    assert plain != dropped
    judged = [
        workload.evaluate(workload.begin({**HP, "dropout": rate}, 0, None), "test") for rate in (0, 0.5)
    ]
    assert judged[0] == judged[1]


def test_its_optimizer_is_sgd_whose_weight_decay_is_of_kernels() -> None:
    workload = P3B1(**SMALL)
    hp = Hyperparameters({"learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.01})
    optimizer = workload.optimizer(workload.model(), hp)
    assert isinstance(optimizer, torch.optim.SGD)
    kernels, others = optimizer.param_groups
    assert (kernels["lr"], kernels["momentum"], kernels["weight_decay"]) == (0.1, 0.5, 0.01)
    assert (others["lr"], others["momentum"], others["weight_decay"]) == (0.1, 0.5, 0.0)


@pytest.mark.parametrize("name", ["shared_units", "task_units"])
@pytest.mark.parametrize("units", [[], [10, 0]], ids=str)
def test_layers_that_cannot_be_are_refused_by_their_option(name: str, units: list[int]) -> None:
    with pytest.raises(UsageError) as caught:
        P3B1(**{name: units})  # type: ignore[arg-type]
    assert str(caught.value) == (
        f"workload.options.{name}: should be one or more numbers from 1 on, not {units}"
    )


def test_its_config_has_loci_that_it_reads_and_a_metric_that_it_gives(workload: P3B1) -> None:
    config = load(REPOSITORY / "configs" / "small" / "p3b1.yaml")
    assert isinstance(build(config.workload.model_dump()), P3B1)
    metrics, read = workload.rehearse({name: locus.initial for name, locus in config.search.loci.items()})  # type: ignore[union-attr]
    assert config.objective.metric in metrics
    assert read >= set(config.search.loci)
