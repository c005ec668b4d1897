"""The mean of members' states, against means computed by hand, and as an assignment on a worker."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from tests.workers import states
from tests.workers.toys import HYPERPARAMETERS, Toy, assignment, job, prepared, run_one, trained
from workers import state
from workers.cache import store_of
from workers.recombination import mean


def pair(seed: int, width: int = 4) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(2 + seed):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
    return model, optimizer


def test_parameters_buffers_and_moments_are_means_and_counts_those_of_the_first() -> None:
    pairs = [pair(seed) for seed in range(3)]
    model, optimizer = pair(9)
    states.restore(mean([states.encode(*one) for one in pairs]), model, optimizer)
    found = dict(model.state_dict())
    for name in ("0.weight", "0.bias", "1.weight", "1.running_mean", "1.running_var"):
        own = [one.state_dict()[name].double() for one, _ in pairs]
        assert torch.equal(found[name], ((own[0] + own[1] + own[2]) / 3).float())
    assert found["1.num_batches_tracked"] == 2
    weight = model.get_parameter("0.weight")
    moments = [one.state[m.get_parameter("0.weight")]["exp_avg"].double() for m, one in pairs]
    assert torch.equal(optimizer.state[weight]["exp_avg"], (sum(moments) / 3).float())  # type: ignore[union-attr]


def test_the_mean_of_one_member_thrice_is_that_member() -> None:
    data = states.encode(*pair(1))
    assert safetensors.torch.load(mean([data] * 3)).keys() == safetensors.torch.load(data).keys()
    for name, value in safetensors.torch.load(mean([data] * 3)).items():
        assert torch.equal(value, safetensors.torch.load(data)[name])


def test_networks_of_another_topology_have_no_mean() -> None:
    with pytest.raises(ValueError, match=r"differ in \d\.\w+, so they have no mean"):
        mean([states.encode(*pair(0)), states.encode(*pair(1, width=5))])


def test_an_optimizer_that_only_some_have_is_that_of_the_first() -> None:
    one, (model, _) = pair(0), pair(1)
    sgd = torch.optim.SGD(model.parameters(), 0.1)
    data = mean([states.encode(*one), states.encode(model, sgd)])
    copy, optimizer = pair(5)
    states.restore(data, copy, optimizer)
    first = one[1].state[one[0].get_parameter("0.weight")]["exp_avg"]
    assert torch.equal(optimizer.state[copy.get_parameter("0.weight")]["exp_avg"], first)


def test_an_assignment_of_a_mean_trains_nothing_and_has_a_fom_and_a_checkpoint(tmp_path: Path) -> None:
    about = job(tmp_path)
    toy, store = prepared(Toy()), store_of(about)
    data = [trained(toy, seed=seed) for seed in (1, 2)]
    refs = [store.publish(f"g000s00{at}-a1", one) for at, one in enumerate(data)]
    outcome = run_one(about, assignment(member="g000mean", mean_of=tuple(refs)))
    assert outcome.status == "done", outcome.error
    assert outcome.checkpoint is not None
    assert store.read(outcome.checkpoint) == mean(data)
    assert "train" not in outcome.seconds
    assert "train_loss" not in outcome.metrics
    training = toy.begin(HYPERPARAMETERS, 3, mean(data))
    assert outcome.fom == toy.evaluate(training, "validation")["validation_loss"]


def test_the_average_that_is_judged_is_averaged_as_well(tmp_path: Path) -> None:
    about = job(tmp_path, average_half_life=1.0)
    outcomes = [run_one(about, assignment(member=f"g0s{seed}", training_seed=seed)) for seed in (1, 2)]
    refs = [outcome.checkpoint for outcome in outcomes if outcome.checkpoint]
    found = run_one(about, assignment(member="g0mean", mean_of=tuple(refs)))
    assert found.checkpoint is not None
    own = [state.model_state(store_of(about).read(ref)) for ref in refs]
    averaged = state.model_state(store_of(about).read(found.checkpoint))
    for name, value in averaged.items():
        if value.is_floating_point():
            assert torch.equal(value, ((own[0][name].double() + own[1][name].double()) / 2).float())
