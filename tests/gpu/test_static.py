"""Steps that are captured as CUDA graphs, on a real GPU: the same as eager ones, and the same each time."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.workers.made_images import HYPERPARAMETERS, NETWORKS, bands, prepared
from tests.workers.static.members import Points, made
from workers.images import ImageClassifier
from workers.seeding import Randomness
from workers.turns import Turns
from workers.workload import Leg, Splits, Training, Workload

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]

CUDA = torch.device("cuda:0")
SPLITS = Splits(bands(512, 32), bands(100, 32, seed=1))
AVERAGED = Leg(average_half_life=0.5)


@pytest.fixture(autouse=True)
def as_in_a_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The settings of `workers.preload`."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("warn")
    yield
    torch.set_deterministic_debug_mode(before)


def images(network: str = "resnet20", **options: Any) -> ImageClassifier:
    return prepared(NETWORKS[network], SPLITS, CUDA, pixels=32, batch_size=32, **options)


def points() -> Points:
    workload = Points(momentum=0.9)
    workload.prepare(CUDA, None)
    return workload


def trained(workload: Workload, hp: dict[str, Any], seed: int = 7) -> tuple[Training, list[float], bytes]:
    training = workload.begin(hp, seed, None, AVERAGED)
    losses = torch.stack(list(workload.train(training))).tolist()
    return training, losses, workload.checkpoint(training)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("network", NETWORKS)
def test_an_epoch_is_captured_and_is_the_same_twice_and_close_to_an_eager_one(
    network: str, precision: str
) -> None:
    workload = images(network, precision=precision)
    training, losses, checkpoint = trained(workload, HYPERPARAMETERS)
    assert training.notes == []
    assert made(workload) == 1
    assert trained(workload, HYPERPARAMETERS)[2] == checkpoint
    eager = trained(images(network, precision=precision, capture="never"), HYPERPARAMETERS)[1]
    assert losses[0] == pytest.approx(eager[0], rel=1e-3)
    assert losses == pytest.approx(eager, rel=0.02 if precision == "float32" else 0.1)


def test_members_with_other_hyperparameters_and_streams_use_the_same_steps() -> None:
    workload = images()
    expected = [trained(workload, {"learning_rate": rate, "weight_decay": 0.01}) for rate in (0.001, 0.01)]
    assert made(workload) == 1
    members, turns = [], []
    for rate in (0.001, 0.01):
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            training = workload.begin({"learning_rate": rate, "weight_decay": 0.01}, 7, None, AVERAGED)
            steps = workload.train(training)
            next(steps)
        torch.cuda.synchronize()
        members.append(training)
        turns.append((stream, steps))
    while turns:
        for stream, steps in list(turns):
            with torch.cuda.stream(stream):
                if next(steps, None) is None:
                    turns.remove((stream, steps))
    torch.cuda.synchronize()
    assert made(workload) == 2
    assert [workload.checkpoint(one) for one in members] == [checkpoint for _, _, checkpoint in expected]


def test_dropout_is_drawn_inside_the_graph_anew_at_each_step() -> None:
    workload = dropping()
    training, losses, _ = trained(workload, {"learning_rate": 0.0})
    assert (training.notes, made(workload)) == ([], 1)
    assert len(set(losses)) == len(losses)
    assert trained(workload, {"learning_rate": 0.0})[1] == losses
    workload.capture = "never"
    assert trained(workload, {"learning_rate": 0.0})[1] == pytest.approx(losses, rel=1e-4)


def dropping() -> Points:
    workload = points()
    workload.model = lambda: nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5), nn.Linear(64, 3))  # type: ignore[method-assign]
    return workload


def test_members_in_several_streams_have_the_dropout_that_each_has_alone() -> None:
    workload, rates = dropping(), (0.01, 0.1, 0.2)
    expected = [trained(workload, {"learning_rate": rate}, seed)[1] for seed, rate in enumerate(rates)]
    turns = Turns(CUDA, len(rates))
    seats = [turns.seat() for _ in rates]
    found: list[list[Tensor]] = [[] for _ in rates]
    epochs: list[Any] = []
    for seed, rate in enumerate(rates):
        turns.give(seats[seed])
        training = workload.begin({"learning_rate": rate}, seed, None, AVERAGED)
        epochs.append(workload.train(training))
        found[seed].append(next(epochs[seed]))
        turns.settle()
    barrier = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    while any(epochs):
        with torch.cuda.stream(barrier):
            torch.cuda._sleep(10**7)  # type: ignore[no-untyped-call]
        for at, steps in enumerate(epochs):
            if steps is None:
                continue
            turns.give(seats[at])
            torch.cuda.current_stream().wait_stream(barrier)  # so that all graphs begin at the same time
            if (loss := next(steps, None)) is None:
                epochs[at] = None
            else:
                found[at].append(loss)
    turns.end()
    torch.cuda.synchronize()
    assert [torch.stack(losses).tolist() for losses in found] == expected


def test_steps_that_are_kept_draw_as_before_when_a_capture_has_failed() -> None:
    workload = dropping()
    expected = trained(workload, {"learning_rate": 0.1})[1]
    failing = Waiting(momentum=0.9)
    failing.prepare(CUDA, None)
    assert trained(failing, {"learning_rate": 0.1})[0].notes
    assert trained(workload, {"learning_rate": 0.1})[1] == expected
    assert made(workload) == 1


class Waiting(Points):
    def loss(self, model: nn.Module, batch: Any, hp: Any) -> Tensor:
        found = super().loss(model, batch, hp)
        return found * (2.0 if found.item() > 1e9 else 1.0)


class Shapes(Points):
    def loss(self, model: nn.Module, batch: Any, hp: Any) -> Tensor:
        inputs, labels = batch
        chosen = inputs[:, 0] > -10
        return super().loss(model, (inputs[chosen], labels[chosen]), hp)


@pytest.mark.parametrize("kind", [Waiting, Shapes])
def test_what_a_graph_cannot_do_is_trained_eagerly_and_the_gpu_still_works(kind: type[Points]) -> None:
    workload = kind(momentum=0.9)
    workload.prepare(CUDA, None)
    training, losses, _ = trained(workload, {"learning_rate": 0.1})
    (note,) = training.notes
    assert note.startswith("trained without captured steps: ")
    assert losses == pytest.approx(trained(points(), {"learning_rate": 0.1})[1], rel=1e-3)
    assert torch.nn.functional.dropout(torch.ones(1000, device=CUDA)).isfinite().all()
    assert torch.cuda.current_stream() == torch.cuda.default_stream()


@pytest.mark.parametrize("network", NETWORKS)
def test_members_are_trained_together_as_each_is_alone(network: str) -> None:
    workload = images(network, precision="float32")
    hps = [{"learning_rate": 0.001 * (k + 1), "weight_decay": 1e-4} for k in range(3)]
    members = [workload.begin(hp, seed, None, AVERAGED) for seed, hp in enumerate(hps)]
    assert workload.stackable(members)
    randomness = []
    for seed in range(len(hps)):
        torch.manual_seed(seed)
        randomness.append(Randomness(CUDA))
    rows = torch.stack(list(workload.train_together(members, randomness))).T.tolist()
    for seed, hp in enumerate(hps):
        training = workload.begin(hp, seed, None, AVERAGED)
        torch.manual_seed(seed)
        alone = torch.stack(list(workload.train(training))).tolist()
        assert rows[seed] == pytest.approx(alone, rel=0.05)


def test_a_compiled_step_is_captured_and_close_to_one_that_is_not() -> None:
    workload = images(precision="float32", compile=True)
    training, losses, _ = trained(workload, HYPERPARAMETERS)
    assert (training.notes, made(workload)) == ([], 1)
    assert losses == pytest.approx(trained(images(precision="float32"), HYPERPARAMETERS)[1], rel=0.05)
