"""An epoch of static steps is the epoch that the member would have had without, as far as anyone can see."""

from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.workers.made_images import HYPERPARAMETERS, prepared
from tests.workers.static.members import (
    AVERAGED,
    Points,
    Switch,
    assert_same,
    made,
    ready,
    trained,
)  # fmt: skip
from workers.hyperparameters import Hyperparameters
from workers.static import shelf, updates
from workers.static.shelf import shelf_of
from workers.training import Leg, Training
from workers.turns import free_memory
from workers.workload import Workload
from workers.workloads.capsnet import CapsNet
from workers.workloads.lenet import LeNet
from workers.workloads.resnet20 import ResNet20


@pytest.fixture
def static(monkeypatch: pytest.MonkeyPatch) -> Switch:
    return Switch(monkeypatch)


def lenet() -> LeNet:
    return ready(LeNet(train_examples=300))


CASES: dict[str, tuple[Callable[[], Workload], dict[str, Any]]] = {
    "lenet, shifted": (lenet, {"learning_rate": 0.05, "max_shift": 2}),
    "lenet, momentum and anneal": (
        lenet,
        {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 1e-3, "max_shift": 0, "anneal": 0.7},
    ),
    "resnet8, adam": (lambda: prepared(ResNet20, depth=8), {**HYPERPARAMETERS, "anneal": 0.5}),
    "resnet8, sgd": (lambda: prepared(ResNet20, depth=8, optimizer="sgd"), HYPERPARAMETERS),
    "resnet8, bfloat16": (lambda: prepared(ResNet20, depth=8, precision="bfloat16"), HYPERPARAMETERS),
    "capsnet": (lambda: prepared(CapsNet), {**HYPERPARAMETERS, "q": 0.8, "routings": 2}),
}


@pytest.mark.parametrize("case", CASES)
def test_losses_and_all_of_the_state_are_those_of_an_eager_epoch(case: str, static: Switch) -> None:
    make, hyperparameters = CASES[case]
    workload = make()
    static(False)
    eager, expected = trained(workload, hyperparameters)
    static(True)
    training, losses = trained(workload, hyperparameters)
    assert training.notes == []
    assert made(workload) == 1
    assert losses == pytest.approx(expected, rel=1e-5)
    assert_same(workload.checkpoint(training), workload.checkpoint(eager), atol=1e-5)
    assert training.averaged is not None
    assert training.averaged.steps == len(losses)


def test_a_step_is_used_again_by_members_with_other_hyperparameters(static: Switch) -> None:
    workload = prepared(CapsNet)
    members = [
        {"learning_rate": rate, "weight_decay": decay, "q": q, "anneal": anneal}
        for rate, decay, q, anneal in [
            (0.001, 1e-4, 0.5, 0.0),
            (0.003, 1e-3, 0.9, 0.5),
            (0.002, 0.1, 1.0, 1.0),
        ]
    ]
    for seed, one in enumerate(members):
        static(False)
        eager, expected = trained(workload, one, seed)
        static(True)
        training, losses = trained(workload, one, seed)
        assert losses == pytest.approx(expected, rel=1e-5)
        assert_same(workload.checkpoint(training), workload.checkpoint(eager), atol=1e-5)
    assert made(workload) == 1


def test_what_python_code_reads_while_it_is_captured_has_a_step_for_each_value(static: Switch) -> None:
    static(True)
    workload = prepared(CapsNet)
    for routings in (1, 2, 2, 1):
        trained(workload, {**HYPERPARAMETERS, "routings": routings})
    assert made(workload) == 2

    class Smoothed(Points):
        def loss(self, model: nn.Module, batch: Any, hp: Hyperparameters) -> Tensor:
            inputs, labels = batch
            return nn.functional.cross_entropy(model(inputs), labels, label_smoothing=hp["smoothing"])

    smoothed = ready(Smoothed())
    for rate, smoothing in [(0.1, 0.0), (0.2, 0.1), (0.3, 0.0)]:
        hyperparameters = {"learning_rate": rate, "smoothing": smoothing}
        training, losses = trained(smoothed, hyperparameters)
        assert training.hyperparameters.read >= {"learning_rate", "smoothing", "noise"}
        static(False)
        assert trained(smoothed, hyperparameters)[1] == pytest.approx(losses, rel=1e-5)
        static(True)
    assert made(smoothed) == 2


def test_a_child_continues_eagerly_from_a_static_epoch_and_the_other_way_round(static: Switch) -> None:
    workload = prepared(ResNet20, depth=8)
    results = []
    for modes in [(False, False), (True, False), (False, True)]:
        static(modes[0])
        parent = workload.checkpoint(trained(workload, HYPERPARAMETERS, epochs=1)[0])
        static(modes[1])
        training, _ = trained(workload, {**HYPERPARAMETERS, "learning_rate": 0.001}, 2, parent, epochs=1)
        assert training.notes == []
        results.append(workload.checkpoint(training))
    for one in results[1:]:
        assert_same(one, results[0], atol=1e-5)


Scheduled = Callable[[Training], Any]
SCHEDULES: dict[str, tuple[str, Scheduled]] = {
    "one cycle": (
        "step",
        lambda training: torch.optim.lr_scheduler.OneCycleLR(
            training.optimizer, 0.3, total_steps=2 * (training.steps_per_epoch or 0) + 1
        ),
    ),
    "warm-up, then cosine": (
        "step",
        lambda training: torch.optim.lr_scheduler.SequentialLR(
            training.optimizer,
            [
                torch.optim.lr_scheduler.LinearLR(training.optimizer, 0.1, total_iters=4),
                torch.optim.lr_scheduler.CosineAnnealingLR(training.optimizer, 8),
            ],
            [4],
        ),
    ),
    "by epoch": (
        "epoch",
        lambda training: torch.optim.lr_scheduler.StepLR(training.optimizer, 1, 0.1),
    ),
    "by the loss of an epoch": (
        "epoch",
        lambda training: torch.optim.lr_scheduler.ReduceLROnPlateau(
            training.optimizer, patience=0, threshold=10.0
        ),
    ),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedulers_go_their_way_step_by_step_and_epoch_by_epoch(name: str, static: Switch) -> None:
    per, make = SCHEDULES[name]
    workload = ready(Points(momentum=0.9))
    workload.scheduler_per = per  # type: ignore[assignment]
    workload.scheduler = make  # type: ignore[method-assign]
    static(False)
    eager, expected = trained(workload, {"learning_rate": 0.1}, epochs=3 if per == "epoch" else 2)
    static(True)
    training, losses = trained(workload, {"learning_rate": 0.1}, epochs=3 if per == "epoch" else 2)
    assert (made(workload), training.notes) == (1, [])
    assert losses == pytest.approx(expected, rel=1e-5)
    assert_same(workload.checkpoint(training), workload.checkpoint(eager), atol=1e-6)
    assert training.optimizer.param_groups[0]["lr"] == eager.optimizer.param_groups[0]["lr"] != 0.1


@pytest.mark.parametrize("count", [1, 3])
def test_an_epoch_that_is_closed_early_leaves_the_member_as_it_is_then(count: int, static: Switch) -> None:
    workload, members = ready(Points(torch.optim.Adam)), []
    for on in (False, True):
        static(on)
        training = workload.begin({"learning_rate": 0.01}, 0, None, AVERAGED)
        steps = workload.train(training)
        assert len(list(islice(steps, count))) == count
        steps.close()
        members.append(workload.checkpoint(training))
    assert_same(members[1], members[0], atol=1e-6)
    static(True)
    again = workload.begin({"learning_rate": 0.01}, 0, None, AVERAGED)
    workload.train(again).close()
    assert again.optimizer.state == {}
    assert made(workload) == 1


def test_gradients_are_clipped_for_each_member(static: Switch) -> None:
    workload = ready(Points(momentum=0.9))
    losses = {}
    for norm in (None, 0.05):
        workload.clip_norm = norm
        for on in (False, True):
            static(on)
            losses[norm, on] = trained(workload, {"learning_rate": 0.3})[1]
        assert losses[norm, True] == pytest.approx(losses[norm, False], rel=1e-4)
    assert losses[None, True] != losses[0.05, True]
    assert made(workload) == 2


def test_dropout_is_drawn_by_the_static_step_and_repeated_from_the_same_seed(static: Switch) -> None:
    workload = ready(Points())
    workload.model = lambda: nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5), nn.Linear(64, 3))  # type: ignore[method-assign]
    workload.draws = lambda batch, hp: {"noise": torch.zeros(batch[0].shape)}  # type: ignore[method-assign]
    static(False)
    _, eager = trained(workload, {"learning_rate": 0.1})
    static(True)
    runs = [trained(workload, {"learning_rate": 0.1}, seed) for seed in (1, 1, 2)]
    losses = [own for _, own in runs]
    assert [training.notes for training, _ in runs] == [[], [], []]
    assert made(workload) == 1
    assert losses[0] == losses[1] != losses[2]
    assert losses[0] == pytest.approx(eager, rel=1e-5)  # as nothing else is drawn between the masks


def test_members_of_different_shapes_have_a_step_each_and_few_are_kept(
    static: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "KEPT", 2)
    static(True)
    workload = ready(Points())
    workload.model_of = lambda hp: nn.Linear(4, 3, bias=hp["bias"])  # type: ignore[method-assign]
    for bias in (True, False, True):
        trained(workload, {"learning_rate": 0.1, "bias": bias})
    assert made(workload) == 2
    free_memory()
    trained(workload, {"learning_rate": 0.1, "bias": False})
    assert made(workload) == 3


def test_two_members_that_take_turns_have_a_step_each(static: Switch) -> None:
    workload, expected = ready(Points()), []
    for seed in (1, 2):
        static(False)
        torch.manual_seed(seed)
        training = workload.begin({"learning_rate": 0.1}, seed, None)
        expected.append([float(loss) for loss in workload.train(training)])
    static(True)
    trainings = [workload.begin({"learning_rate": 0.1}, seed, None) for seed in (1, 2)]
    turns = []
    for seed, training in zip((1, 2), trainings, strict=True):
        workload.begin({"learning_rate": 0.1}, seed, None)  # seeds the generators
        turns.append((workload.train(training), []))
        turns[-1][1].append(float(next(turns[-1][0])))
    while len(turns[0][1]) < len(expected[0]):
        for steps, losses in turns:
            losses.append(float(next(steps)))
    for (steps, losses), own in zip(turns, expected, strict=True):
        assert next(steps, None) is None
        assert losses == pytest.approx(own, rel=1e-5)
    assert made(workload) == 2
    trained(workload, {"learning_rate": 0.1}, leg=Leg())
    assert made(workload) == 2


def test_a_new_step_that_does_something_else_is_found_out_and_not_used(
    static: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload, plain = ready(Points()), updates.SGD.rates
    static(False)
    eager, expected = trained(workload, {"learning_rate": 0.1})
    monkeypatch.setattr(
        updates.SGD, "rates", lambda self, settings, taken: 1.5 * plain(self, settings, taken)
    )
    static(True)
    training, losses = trained(workload, {"learning_rate": 0.1})
    assert losses == expected
    (note,) = training.notes
    assert note.startswith("trained without captured steps: captured steps change parameters differently")
    training.notes.clear()
    assert workload.checkpoint(training) == workload.checkpoint(eager)
    assert any("not captured: captured steps change" in line for line in workload.facts())


def test_a_member_whose_losses_are_not_finite_says_nothing_about_its_step(static: Switch) -> None:
    static(True)
    workload = ready(Points())
    training, losses = trained(workload, {"learning_rate": 1e38})
    assert not all(torch.tensor(losses).isfinite())
    assert training.notes == []
    _, step = shelf_of(workload)._idle[0]
    assert not step.is_checked
    trained(workload, {"learning_rate": 0.1})
    assert (step.is_checked, made(workload)) == (True, 1)


def test_check_says_whether_steps_are_captured(static: Switch) -> None:
    static(True)
    workload = ready(Points())
    workload.rehearse({"learning_rate": 0.1})
    assert workload.facts()[-1] == "training steps are captured as CUDA graphs"
    workload.capture = "never"
    assert "captured" not in "".join(workload.facts())
    static(False)
    assert trained(workload, {"learning_rate": 0.1})[0].notes == []
    assert made(workload) > 0


def test_capture_never_leaves_everything_eager(static: Switch) -> None:
    static(True)
    workload = ready(LeNet(train_examples=100, capture="never"))
    trained(workload, {"learning_rate": 0.1})
    assert made(workload) == 0


def test_on_a_cpu_nothing_is_captured_by_default() -> None:
    workload = ready(Points())
    training, _ = trained(workload, {"learning_rate": 0.1})
    assert (made(workload), training.notes) == (0, [])
    assert not workload.stackable([training, workload.begin({"learning_rate": 0.1}, 2, None)])


def test_anneal_goes_by_the_steps_of_a_leg_given_in_steps(static: Switch) -> None:
    workload, found = ready(Points()), []
    for on in (False, True):
        static(on)
        training = workload.begin({"learning_rate": 0.1, "anneal": 1.0}, 0, None, Leg(steps=10))
        losses = []
        for _ in range(2):
            for loss in workload.train(training):
                losses.append(float(loss))
                training.step += 1
        found.append((losses, workload.checkpoint(training)))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-5)
    assert_same(found[1][1], found[0][1], atol=1e-6)
