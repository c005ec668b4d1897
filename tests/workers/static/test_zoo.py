"""Every workload of the zoo trains by static steps as without, or is left alone."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from torch import Tensor, nn

from tests.workers.static.members import CPU, Switch, assert_same, made, trained
from tests.workers.toys import Toy
from tests.zoo import contract
from workers.training import Leg

CAPTURED = {
    "amsgrad_by_locus", "autocast_bfloat16", "averaged", "batch_norm", "clipping", "compiled_layer",
    "frozen_by_locus", "lazy_layers", "nested_tuples", "optimizer_by_locus", "parametrized", "plain",
    "scheduler_by_hand", "scheduler_chained", "scheduler_cosine", "scheduler_cyclic", "scheduler_lambda",
    "scheduler_one_cycle", "scheduler_own", "scheduler_plateau", "scheduler_restarts", "scheduler_sequential",
    "scheduler_step", "tied_weights", "two_groups",
}  # fmt: skip
"""Those with a founder that is trained by static steps; the others have obstacles."""


@pytest.fixture(autouse=True)
def torch_says_nothing() -> Iterator[None]:
    with contextlib.suppress(ImportError):
        import tqdm

        tqdm.tqdm.monitor_interval = 0  # used by torch's compiler if installed; it starts a thread
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def quiet_loss(self: Toy, model: nn.Module, batch: Any, hp: Any) -> Tensor:
    """The toy's, without the numbers that it draws on the host."""
    inputs, labels = batch
    return nn.functional.cross_entropy(model(inputs), labels)


@pytest.mark.parametrize("name", contract.names("works"))
def test_two_epochs_and_a_childs_are_those_of_eager_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Toy, "loss", quiet_loss)
    static, founders = Switch(monkeypatch), contract.founders_of("works", name)
    workload = contract.module_of("works", name).Net()
    workload.prepare(CPU, None)
    found = []
    for on in (False, True):
        static(on)
        parent, losses = trained(workload, founders[0], leg=Leg(epochs=2, total=3))
        data = workload.checkpoint(parent)
        child, more = trained(workload, founders[-1], 2, data, Leg(before=2, total=3), epochs=1)
        found.append((losses, more, data, workload.checkpoint(child), parent.notes + child.notes))
    (eager, static_ones) = found
    assert static_ones[0] == pytest.approx(eager[0], rel=1e-3)
    assert static_ones[1] == pytest.approx(eager[1], rel=1e-3)
    for mine, its in zip(static_ones[2:4], eager[2:4], strict=True):
        assert_same(mine, its, atol=1e-4)
    assert static_ones[4] == eager[4]
    assert (made(workload) > 0) is (name in CAPTURED)


def test_a_loss_that_draws_on_the_host_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    static, found = Switch(monkeypatch), []
    workload = Toy()
    workload.prepare(CPU, None)
    for on in (False, True):
        static(on)
        training, losses = trained(workload, contract.FOUNDERS[0])
        found.append((losses, workload.checkpoint(training)))
    assert found[0] == found[1]
    assert any("random numbers on the host" in note for note in training.notes)
