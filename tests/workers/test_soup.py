"""The greedy soup, compared with one computed step by step, and recomputed batch normalisation statistics."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from evodevo.evolution.fitness import Mode
from evodevo.run.records import CheckpointRef, Job
from tests.workers.toys import HYPERPARAMETERS, Toy, job, points, prepared, section, trained
from workers import state
from workers.cache import store_of
from workers.soup import make_soup, recalibrate
from workers.workload import Splits

HERE = "tests.workers.test_soup"


class Larger(Toy):
    """Enough examples for statistics that can be trusted."""

    def data(self, root: str | None) -> Splits:
        return Splits(points(2000, seed=1), points(500, seed=2), points(20, seed=3))


class Plain(Larger):
    """Without batch normalisation: a mean is evaluated as it is."""

    def model(self) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))


def lives(directory: Path, workload: Toy, count: int = 4) -> tuple[Job, list[CheckpointRef], list[bytes]]:
    """A founder's children, best first by validation loss, in a store."""
    about = job(directory, section(f"{HERE}:{type(workload).__name__}"))
    parent = trained(workload, seed=0)
    rates = [0.4 - 0.02 * at for at in range(count)]
    own = [{**HYPERPARAMETERS, "learning_rate": rate} for rate in rates]
    data = [trained(workload, one, at, parent) for at, one in enumerate(own)]
    data.sort(key=lambda one: loss_of(workload, one))
    return about, [store_of(about).publish(f"g1s{at}-a1", one) for at, one in enumerate(data)], data


def loss_of(workload: Toy, data: bytes) -> float:
    training = workload.begin(HYPERPARAMETERS, 5, data)
    return workload.evaluate(training, "validation")["validation_loss"]


def loss_of_mean(workload: Toy, states: list[dict[str, Tensor]]) -> float:
    training = workload.begin(HYPERPARAMETERS, 5, None)
    mean = {name: sum(one[name].double() for one in states) / len(states) for name in states[0]}
    training.model.load_state_dict({name: value.float() for name, value in mean.items()})  # type: ignore[union-attr]
    return workload.evaluate(training, "validation")["validation_loss"]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_network_is_added_if_that_makes_the_mean_better(mode: Mode, tmp_path: Path) -> None:
    plain = Plain()
    about, refs, data = lives(tmp_path, prepared(plain))  # type: ignore[arg-type]
    states = [state.model_state(one) for one in data]
    of, best = [0], loss_of_mean(plain, states[:1])
    for at in range(1, len(states)):
        found = loss_of_mean(plain, [states[one] for one in [*of, at]])
        if (found < best) if mode == "min" else (found > best):
            of, best = [*of, at], found
    made = make_soup(about, mode, refs, HYPERPARAMETERS)
    assert made["checkpoint"]["name"] in store_of(about).names()  # listed, so it can be deleted
    assert made["of"] == of
    assert made["fom"] == best
    ref = CheckpointRef(**made["checkpoint"])
    assert loss_of_mean(plain, [state.model_state(store_of(about).read(ref))]) == best
    assert len(of) > 1 or mode == "max"


def test_a_soup_of_one_member_is_that_member_with_its_own_statistics(tmp_path: Path) -> None:
    about, refs, data = lives(tmp_path, prepared(Larger()), count=1)  # type: ignore[arg-type]
    made = make_soup(about, "min", refs, HYPERPARAMETERS)
    assert (made["of"], made["fom"]) == ([0], loss_of(prepared(Larger()), data[0]))  # type: ignore[arg-type]
    found = state.model_state(store_of(about).read(CheckpointRef(**made["checkpoint"])))
    for name, value in state.model_state(data[0]).items():
        assert torch.equal(found[name], value)


def test_statistics_computed_anew_change_the_loss_of_a_trained_member_by_less_than_a_hundredth() -> None:
    larger = prepared(Larger())
    parent = None
    for seed in range(3):
        parent = trained(larger, {**HYPERPARAMETERS, "learning_rate": 0.01}, seed, parent)
    training = larger.begin(HYPERPARAMETERS, 9, parent)
    before = larger.evaluate(training, "validation")["validation_loss"]
    recalibrate(larger, training)
    layer: Any = training.model.get_submodule("1")
    assert layer.momentum == 0.1
    assert larger.evaluate(training, "validation")["validation_loss"] == pytest.approx(before, rel=0.01)


def test_statistics_that_are_wrong_are_put_right() -> None:
    larger = prepared(Larger())
    training = larger.begin(HYPERPARAMETERS, 9, trained(larger))
    before = larger.evaluate(training, "validation")["validation_loss"]
    layer: Any = training.model.get_submodule("1")
    layer.running_mean.fill_(40.0)
    assert larger.evaluate(training, "validation")["validation_loss"] > 1.5 * before
    recalibrate(larger, training)
    assert larger.evaluate(training, "validation")["validation_loss"] == pytest.approx(before, rel=0.05)


def test_a_network_of_another_topology_is_left_out(tmp_path: Path) -> None:
    class Wide(Plain):
        def model(self) -> torch.nn.Module:
            return torch.nn.Sequential(torch.nn.Linear(4, 9), torch.nn.Tanh(), torch.nn.Linear(9, 3))

    plain = prepared(Plain())
    about, refs, _ = lives(tmp_path, plain, count=2)  # type: ignore[arg-type]
    other = store_of(about).publish("g1s9-a1", trained(prepared(Wide())))
    made = make_soup(about, "min", [refs[0], other, refs[1]], HYPERPARAMETERS)
    assert 1 not in made["of"]
