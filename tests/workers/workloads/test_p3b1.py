"""P3B1's network: shared and own layers, the sum of the tasks' losses, and its metrics."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score

from evodevo.config_file import load
from evodevo.errors import UsageError
from tests.workers.conftest import REPOSITORY
from tests.workers.data.test_p3b1 import made
from workers import batches
from workers.build import build
from workers.data.p3b1 import TASKS
from workers.hyperparameters import Hyperparameters
from workers.workloads.p3b1 import P3B1, MultiTask, f1

HP = {"learning_rate": 0.01, "dropout": 0.0}
DRAWN = 230.87286532387225
"""The sum of the magnitudes of all parameters that an earlier version drew from seed 7."""
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


def test_each_task_has_scores_for_its_own_classes_from_its_own_layers() -> None:
    torch.manual_seed(0)  # a draw may leave one document without a unit that fires
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
        f"workload.options.{name}: should be one or more numbers of at least 1, not {units}"
    )


def test_its_config_has_loci_that_it_reads_and_a_metric_that_it_gives(workload: P3B1) -> None:
    config = load(REPOSITORY / "configs" / "small" / "p3b1.yaml")
    assert isinstance(build(config.workload.model_dump()), P3B1)
    metrics, read = workload.rehearse({name: locus.initial for name, locus in config.search.loci.items()})  # type: ignore[union-attr]
    assert config.objective.metric in metrics
    assert read >= set(config.search.loci)


def test_f1_is_scikit_learn_s() -> None:
    generator = torch.Generator().manual_seed(0)
    for classes, count in [(13, 200), (13, 9), (4, 50), (2, 30), (2, 1)]:
        for _ in range(10):
            true, found = torch.randint(classes, (2, count), generator=generator)
            macro, micro = f1(found, true)
            for average, value in (("macro", macro), ("micro", micro)):
                expected = f1_score(true.numpy(), found.numpy(), average=average, zero_division=0.0)
                assert float(value) == pytest.approx(expected, abs=1e-12)


def test_macro_and_micro_f1_by_hand() -> None:
    """Of 0, 0, 1, 3 as 0, 1, 1, 0: F1 of 0 is 1/2, of 1 2/3, of 3 zero; two of four are right."""
    macro, micro = f1(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 0, 1, 3]))
    assert (float(macro), float(micro)) == (pytest.approx((1 / 2 + 2 / 3 + 0) / 3), 0.5)


def test_f1_is_reported_for_each_task_if_asked_for_and_changes_nothing_else(root: str) -> None:
    plain, with_f1 = prepared(root), prepared(root, f1=True)
    found = [one.evaluate(one.begin(HP, 0, None), "test") for one in (plain, with_f1)]
    added = {f"test_f1_{kind}_{task}" for kind in ("macro", "micro") for task in TASKS}
    assert set(found[1]) - set(found[0]) == added
    assert {name: found[1][name] for name in found[0]} == found[0]
    for task in TASKS:
        assert found[1][f"test_f1_micro_{task}"] == pytest.approx(1 - found[0][f"test_error_{task}"])


def test_layers_have_the_sizes_of_their_loci() -> None:
    sizes = {"dense_sz2": 5, "dense_szA3": 6, "dense_szA4": 7, "dense_szB3": 8, "dense_szC4": 9}
    model = P3B1().model_of(Hyperparameters(sizes))
    assert isinstance(model, MultiTask)
    assert [layer.out_features for layer in model.shared] == [5]
    assert [[layer.out_features for layer in own] for own in model.own] == [[6, 7], [8, 1200], [1200, 9]]
    assert model(torch.rand(3, 400), torch.arange(3)).shape == (3, 13)


def test_a_task_s_letter_is_its_own_also_without_the_others() -> None:
    model = P3B1(tasks=["grade"]).model_of(Hyperparameters({"dense_szC3": 5, "dense_szA3": 6}))
    assert isinstance(model, MultiTask)
    assert [layer.out_features for layer in model.own[0]] == [5, 1200]


def test_what_is_drawn_without_such_loci_is_what_was_drawn_before_there_were_any() -> None:
    torch.manual_seed(7)
    model = P3B1(shared_units=[6], task_units=[5, 4]).model()
    total = sum(float(value.double().abs().sum()) for value in model.state_dict().values())
    assert total == pytest.approx(DRAWN, rel=1e-12)


@pytest.mark.parametrize("name", ["p3b1-search.yaml", "small/p3b1-time.yaml"])
def test_its_searches_begin_with_the_benchmark_s_network_and_have_targets_that_it_gives(
    root: str, name: str
) -> None:
    config = load(REPOSITORY / "configs" / name)
    given: dict[str, Any] = {locus: found.initial for locus, found in config.search.loci.items()}  # type: ignore[union-attr]
    sizes = {key: value for key, value in given.items() if key.startswith("dense_sz")}
    assert set(sizes) == {"dense_sz2", *(f"dense_sz{letter}{layer}" for letter in "ABC" for layer in (3, 4))}
    assert set(sizes.values()) == {1200}
    assert (given["learning_rate"], given["dropout"]) == (0.01, 0.1)
    workload = prepared(root, f1=True)
    metrics, read = workload.rehearse({**given, **dict.fromkeys(sizes, 8)})
    assert read >= set(config.search.loci)
    assert config.workload.options["f1"] is True
    assert config.objective.target is not None
    targets = {target.metric: target.at_least for target in config.objective.target.goals}
    assert set(targets) == {f"validation_f1_{kind}_{task}" for kind in ("macro", "micro") for task in TASKS}
    assert set(targets) <= set(metrics)
