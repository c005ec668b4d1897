"""Members with several networks on a worker: each trained as it would be alone, all of them judged as one."""

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from evodevo.errors import UsageError
from evodevo.evolution.rng import network_seed
from evodevo.run.records import Assignment, CheckpointRef, Job, NetworkStart, Outcome
from tests.golden import raises_golden
from tests.workers.toys import (
    HYPERPARAMETERS,
    Showing,
    Toy,
    assignment,
    job,
    points,
    prepared,
    run_one,
    run_unit,
    section,
    trained,
)
from workers.cache import store_of, workload_for
from workers.combining import mean_distribution, mean_probability
from workers.describe import describe
from workers.ensemble import Ensemble, EnsembleWorkload
from workers.examine import examine
from workers.networks import packed, unpacked
from workers.recombination import mean
from workers.seeding import Randomness
from workers.soup import make_soup
from workers.start import try_start
from workers.takeaway import plain_file, plain_state
from workers.training import Training
from workers.workload import Batch, Splits
from workers.workloads.capsnet import CapsNet
from workers.workloads.characters import Characters
from workers.workloads.feedforward import FeedForward
from workers.workloads.lenet import LeNet
from workers.workloads.p3b1 import P3B1
from workers.workloads.resnet20 import ResNet20
from workers.workloads.rpv import RPV

HERE = "tests.workers.test_ensemble"
OTHERS = {"learning_rate": 0.2, "momentum": 0.5}


class Voting(Toy):
    """A toy whose networks can predict together."""

    def combine(self, outputs: Sequence[Tensor]) -> Tensor:
        return mean_distribution(outputs)


class Plain(Voting):
    """Without batch normalisation, so that a mean is evaluated as it is."""

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


class Raising(Toy):
    def combine(self, outputs: Sequence[Tensor]) -> Tensor:
        raise ValueError("no idea")


class Peeping(Voting):
    """Looks into the model that its metrics are of."""

    def metrics(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor | float]:
        return {**super().metrics(model, batch), "first": float(model.get_parameter("0.weight").sum())}


class Counting(Voting):
    """Reports another metric of several networks than of one."""

    def metrics(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor | float]:
        name = "several" if isinstance(model, Ensemble) else "one"
        return {**super().metrics(model, batch), name: 1.0}


class VotingShow(Showing, Voting):
    pass


def voting(directory: Path, kind: type[Toy] = Voting, ploidy: int = 3, **changed: Any) -> Job:
    directory.mkdir(parents=True, exist_ok=True)
    return job(directory, section(f"{HERE}:{kind.__name__}"), ploidy=ploidy, **changed)


class Loaded(Voting):
    """Uses a DataLoader whose sampler draws repeatedly from a generator within an epoch."""

    def data(self, root: str | None) -> Splits:
        inputs, labels = points(100, seed=1)
        sampler = RandomSampler(range(100), True, 100, torch.Generator())
        return Splits(DataLoader(TensorDataset(inputs, labels), 16, sampler=sampler), points(30, seed=2))


class Together(Voting):
    """Trains members together, one step of each after the other, as a stacked network would."""

    counts: ClassVar[list[int]] = []

    def stackable(self, trainings: Sequence[Training]) -> bool:
        return True

    def train_together(
        self, trainings: Sequence[Training], randomness: Sequence[Randomness]
    ) -> Generator[Tensor, None, None]:
        self.counts.append(len(trainings))
        epochs = [self.train(training) for training in trainings]
        while True:
            losses = []
            for epoch, own in zip(epochs, randomness, strict=True):
                with own.in_force():
                    losses.append(next(epoch, None))
            if losses[0] is None:
                return
            yield torch.stack([loss for loss in losses if loss is not None])


def starts(count: int = 3, parents: Sequence[CheckpointRef | None] = (), epoch: int = 0) -> Any:
    """What the networks of a member with the training seed 7 begin with."""
    given = parents or [None] * count
    return tuple(
        NetworkStart(parent, epoch, network_seed(7, at), HYPERPARAMETERS) for at, parent in enumerate(given)
    )


def checkpoint_of(about: Job, outcome: Outcome) -> bytes:
    assert outcome.status == "done", outcome.error
    assert outcome.checkpoint is not None
    return store_of(about).read(outcome.checkpoint)


def alone(directory: Path, one: Assignment, kind: type[Toy] = Voting, **changed: Any) -> list[bytes]:
    """The checkpoints of members with one network each that begin with what the networks of `one` do."""
    about, found = voting(directory / "alone", kind, ploidy=1, **changed), []
    for at, start in enumerate(one.networks):
        parent = None
        if start.parent:
            data = unpacked(store_of(voting(directory)).read(start.parent))[at]
            parent = store_of(about).publish(f"parent{at}", data)
        own = {"epoch": start.epoch, "training_seed": start.training_seed, "member": f"m{at}"}
        found.append(checkpoint_of(about, run_one(about, assignment(parent, **own))))
    return found


@pytest.mark.parametrize(
    "changed",
    [{}, {"longest_leg": 2}, {"steps": 4}, {"average_half_life": 1.0}, {"steps": 9}],
    ids=["an epoch", "two epochs", "steps", "averaged", "steps of two epochs"],
)
def test_each_network_is_bit_for_bit_what_it_would_be_alone(changed: dict[str, Any], tmp_path: Path) -> None:
    """The loss of the toy draws from every global generator, and there is dropout."""
    about, one = voting(tmp_path, **changed), assignment(networks=starts())
    each = unpacked(checkpoint_of(about, run_one(about, one)))
    assert each == alone(tmp_path, one, **changed)
    assert len(set(each)) == 3


def test_so_it_is_if_members_take_turns(tmp_path: Path) -> None:
    about = voting(tmp_path, members_per_device=3, longest_leg=2)
    members = [
        assignment(
            member=f"m{at}",
            epochs=2,
            networks=tuple(replace(one, training_seed=one.training_seed + at) for one in starts()),
        )
        for at in range(3)
    ]
    reports = run_unit(about, members)
    for at, one in enumerate(members):
        outcome = Outcome.from_json(reports[at]["outcome"])
        assert outcome.aside_s
        data = checkpoint_of(about, outcome)
        assert unpacked(data) == alone(tmp_path / str(at), one, longest_leg=2)


def test_networks_find_a_shared_loader_as_if_they_were_alone(tmp_path: Path) -> None:
    one = assignment(networks=starts())
    each = unpacked(checkpoint_of(voting(tmp_path), run_one(voting(tmp_path, Loaded, longest_leg=2), one)))
    assert each == alone(tmp_path, one, kind=Loaded, longest_leg=2)


def test_networks_in_one_place_are_trained_together_with_those_of_other_members(tmp_path: Path) -> None:
    Together.counts.clear()
    about = voting(tmp_path, Together, ploidy=2, members_per_device=2)
    other = tuple(replace(one, training_seed=one.training_seed + 9) for one in starts(2))
    members = [assignment(member="m0", networks=starts(2)), assignment(member="m1", networks=other)]
    reports = run_unit(about, members)
    assert Together.counts == [2, 2]
    for at, one in enumerate(members):
        data = checkpoint_of(about, Outcome.from_json(reports[at]["outcome"]))
        assert unpacked(data) == alone(tmp_path / str(at), one)


def test_a_child_has_each_network_from_the_place_of_its_own_in_its_parent(tmp_path: Path) -> None:
    about = voting(tmp_path)
    first = run_one(about, assignment(member="a", networks=starts()))
    second = run_one(
        about,
        assignment(
            member="b", networks=tuple(replace(one, training_seed=one.training_seed + 9) for one in starts())
        ),
    )
    parents = [first.checkpoint, second.checkpoint, first.checkpoint]
    child = assignment(member="c", networks=starts(parents=parents, epoch=1))
    each = unpacked(checkpoint_of(about, run_one(about, child)))
    assert each == alone(tmp_path, child)
    other = assignment(member="d", networks=starts(parents=[first.checkpoint] * 3, epoch=1))
    mine = unpacked(checkpoint_of(about, run_one(about, other)))
    assert [one == its for one, its in zip(mine, each, strict=True)] == [True, False, True]


def test_networks_may_have_hyperparameters_of_their_own(tmp_path: Path) -> None:
    about = voting(tmp_path, ploidy=2)
    one, other = starts(2)
    own = assignment(networks=(one, replace(other, hyperparameters=OTHERS)))
    each = unpacked(checkpoint_of(about, run_one(about, own)))
    assert each[0] == trained(prepared(Voting()), seed=7)
    assert each[1] == trained(prepared(Voting()), OTHERS, network_seed(7, 1))


def test_the_fom_is_the_negative_log_likelihood_of_the_mean_of_the_distributions(tmp_path: Path) -> None:
    about, toy = voting(tmp_path), prepared(Voting())
    outcome = run_one(about, assignment(networks=starts()))
    inputs, labels = toy.splits.validation
    members = [toy.begin(HYPERPARAMETERS, 0, one) for one in unpacked(checkpoint_of(about, outcome))]
    models = [one.model.eval() for one in members]
    with torch.no_grad():
        mean_of_all = sum(model(inputs).double().softmax(1) for model in models) / 3
    assert isinstance(mean_of_all, Tensor)
    likelihoods = mean_of_all[torch.arange(len(labels)), labels]
    assert outcome.fom == pytest.approx(float(-likelihoods.log().mean()), rel=1e-5)
    right = (mean_of_all.argmax(1) == labels).double().mean()
    assert outcome.metrics["validation_accuracy"] == pytest.approx(float(right))
    each = [toy.evaluate(one, "validation") for one in members]
    assert outcome.fom < sum(one["validation_loss"] for one in each) / 3  # by Jensen's inequality
    assert outcome.metrics.keys() == {*each[0], "train_loss"}


def test_the_averages_of_the_networks_are_judged_if_averages_are(tmp_path: Path) -> None:
    about, toy = voting(tmp_path, average_half_life=1.0), prepared(Voting())
    outcome = run_one(about, assignment(networks=starts()))
    states = plain_state(checkpoint_of(about, outcome))
    networks = [toy.model() for _ in range(3)]
    ensemble = Ensemble(networks, mean_distribution)
    ensemble.load_state_dict(states)
    with torch.no_grad():
        metrics = toy.metrics(ensemble.eval(), toy.splits.validation)
    assert outcome.fom == pytest.approx(float(metrics["loss"]), rel=1e-6)


def test_a_checkpoint_of_several_networks_comes_apart_into_the_bytes_it_was_made_of() -> None:
    each = [trained(prepared(Toy()), seed=seed) for seed in range(3)]
    whole = packed(each)
    assert unpacked(whole) == each
    assert packed(unpacked(whole)) == whole
    assert unpacked(each[0]) == [each[0]]
    names = safetensors.torch.load(whole).keys()
    assert {name.split(".")[1] for name in names} == {"0", "1", "2"}
    assert "networks.2.model.0.weight" in names


def test_the_state_dict_of_an_ensemble_is_that_of_a_plain_module_with_a_list_of_networks() -> None:
    """As docs/workloads.md has it, without evodevo."""

    class Together(nn.Module):
        def __init__(self, networks: Sequence[nn.Module]) -> None:
            super().__init__()
            self.networks = nn.ModuleList(networks)

        def forward(self, inputs: Tensor) -> Tensor:
            return torch.stack([network(inputs).softmax(1) for network in self.networks]).mean(0)

    toy = prepared(Voting())
    each = [trained(toy, seed=seed) for seed in range(2)]
    model = Together([toy.model() for _ in range(2)])
    model.load_state_dict(plain_state(packed(each)))
    model.load_state_dict(safetensors.torch.load(plain_file(packed(each), ".safetensors")))
    inputs, _ = toy.splits.validation
    expected = [toy.begin(HYPERPARAMETERS, 0, one).model.eval()(inputs).softmax(1) for one in each]
    assert torch.equal(model.eval()(inputs), torch.stack(expected).mean(0))


def test_the_test_split_is_judged_by_all_and_what_is_shown_is_the_first_network(tmp_path: Path) -> None:
    about = voting(tmp_path, VotingShow)
    outcome = run_one(about, assignment(networks=starts()))
    assert outcome.checkpoint is not None
    metrics = examine(about, outcome.checkpoint, HYPERPARAMETERS, str(tmp_path / "shown"))
    first = voting(tmp_path / "first", VotingShow, ploidy=1)
    ref = store_of(first).publish("first", unpacked(checkpoint_of(about, outcome))[0])
    alone_metrics = examine(first, ref, HYPERPARAMETERS, str(tmp_path / "shown alone"))
    assert metrics.keys() == alone_metrics.keys() == {"test_loss", "test_accuracy"}
    assert metrics["test_loss"] < alone_metrics["test_loss"]
    shown = [(tmp_path / name / "weights.txt").read_bytes() for name in ("shown", "shown alone")]
    assert shown[0] == shown[1]


def test_founders_that_begin_alike_have_networks_that_do_not(tmp_path: Path) -> None:
    ensemble = EnsembleWorkload(prepared(Voting()), 3)
    leg = replace(ensemble.begin(HYPERPARAMETERS, 0, None).leg, initial_seed=5)
    one, other = (ensemble.begin(HYPERPARAMETERS, seed, None, leg) for seed in (1, 2))
    weights = [[net.model.get_parameter("0.weight") for net in member.networks] for member in (one, other)]
    assert all(torch.equal(mine, its) for mine, its in zip(*weights, strict=True))
    assert not torch.equal(weights[0][0], weights[0][1])


def test_the_mean_of_ensembles_is_that_of_the_networks_in_each_place(tmp_path: Path) -> None:
    toy, about = prepared(Voting()), voting(tmp_path, ploidy=2)
    each = [[trained(toy, seed=2 * member + at) for at in range(2)] for member in range(3)]
    whole = mean([packed(member) for member in each])
    assert unpacked(whole) == [mean([member[at] for member in each]) for at in range(2)]
    refs = [store_of(about).publish(f"m{at}", packed(member)) for at, member in enumerate(each)]
    outcome = run_one(about, assignment(member="mean", mean_of=tuple(refs)))
    assert checkpoint_of(about, outcome) == whole
    odd = trained(prepared(Plain()))
    with pytest.raises(ValueError, match=r"the members' networks differ in \d\.\w+, so they have no mean"):
        mean([packed(each[0]), packed([each[1][0], odd])])


def test_a_soup_of_ensembles_is_made_of_the_networks_in_each_place(tmp_path: Path) -> None:
    about, toy = voting(tmp_path, Plain, ploidy=2), prepared(Plain())
    founder = [trained(toy, seed=at) for at in range(2)]
    members = [
        packed([trained(toy, HYPERPARAMETERS, 10 * member + at, founder[at]) for at in range(2)])
        for member in range(3)
    ]
    ensemble = EnsembleWorkload(toy, 2)

    def loss_of(states: Sequence[Mapping[str, Tensor]]) -> float:
        training = ensemble.begin(HYPERPARAMETERS, 5, None)
        mean_of = {name: sum(one[name].double() for one in states) / len(states) for name in states[0]}
        training.model.load_state_dict({name: value.float() for name, value in mean_of.items()})  # type: ignore[union-attr]
        return ensemble.evaluate(training, "validation")["validation_loss"]

    members.sort(key=lambda data: loss_of([plain_state(data)]))
    states = [plain_state(data) for data in members]
    of, best = [0], loss_of(states[:1])
    for at in (1, 2):
        found = loss_of([states[one] for one in [*of, at]])
        if found < best:
            of, best = [*of, at], found
    refs = [store_of(about).publish(f"m{at}-a1", data) for at, data in enumerate(members)]
    made = make_soup(about, "min", refs, HYPERPARAMETERS)
    assert (made["of"], made["fom"]) == (of, pytest.approx(best, rel=1e-6))
    data = store_of(about).read(CheckpointRef(**made["checkpoint"]))
    assert len(unpacked(data)) == 2
    assert loss_of([plain_state(data)]) == made["fom"]


def test_statistics_of_batch_norm_of_each_network_of_a_soup_are_computed_anew(tmp_path: Path) -> None:
    about, toy = voting(tmp_path, ploidy=2), prepared(Voting())
    founder = [trained(toy, seed=at) for at in range(2)]
    members = [[trained(toy, OTHERS, 10 * one + at, founder[at]) for at in range(2)] for one in range(2)]
    refs = [store_of(about).publish(f"m{at}-a1", packed(each)) for at, each in enumerate(members)]
    made = [make_soup(about, mode, refs, HYPERPARAMETERS) for mode in ("min", "max")]
    (soup,) = [one for one in made if len(one["of"]) == 2] or made[:1]
    assert soup["of"] == [0, 1]
    found = plain_state(store_of(about).read(CheckpointRef(**soup["checkpoint"])))
    states = [plain_state(packed(each)) for each in members]
    for at in range(2):
        weight, mean_of = f"networks.{at}.0.weight", f"networks.{at}.1.running_mean"
        assert torch.allclose(found[weight], (states[0][weight] + states[1][weight]) / 2)
        assert not torch.allclose(found[mean_of], (states[0][mean_of] + states[1][mean_of]) / 2)
    assert not torch.equal(found["networks.0.1.running_mean"], found["networks.1.1.running_mean"])


def test_a_diverged_network_is_a_diverged_member(tmp_path: Path) -> None:
    about = voting(tmp_path, ploidy=2)
    one, other = starts(2)
    wild = replace(other, hyperparameters={"learning_rate": 1e30, "momentum": 0.9})
    assert run_one(about, assignment(networks=(one, wild))).status == "diverged"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Toy, "is 2, but Toy does not define how to combine"),
        (Raising, "is 2, but metrics() fails for an ensemble, a model that can only be called"),
        (Peeping, "metrics() fails for an ensemble, a model that can only be called"),
        (
            Counting,
            "metrics() returns validation_loss, validation_accuracy, validation_several for",
        ),
    ],
)
def test_a_workload_that_cannot_combine_predictions_is_refused_before_a_run(
    kind: type[Toy], said: str, tmp_path: Path
) -> None:
    use = f"{kind.__module__}:{kind.__name__}"
    with pytest.raises(UsageError) as refused:
        describe(job(tmp_path, section(use), ploidy=2), [HYPERPARAMETERS, OTHERS])
    assert said in str(refused.value)
    assert str(refused.value).startswith("search.ploidy")


def test_a_workload_that_can_is_described_with_its_networks(tmp_path: Path) -> None:
    found = describe(voting(tmp_path, members_per_device=2), [HYPERPARAMETERS, OTHERS])
    assert "3 networks per member, whose predictions are combined" in found["facts"]
    assert found["warnings"] == []


def test_what_holds_another_number_of_networks_is_refused(tmp_path: Path) -> None:
    about, toy = voting(tmp_path, ploidy=2), prepared(Voting())
    three = store_of(about).publish("three", packed([trained(toy)] * 3))
    with raises_golden("start/more-networks", UsageError, tmp_path, name=three.name):
        try_start(about, HYPERPARAMETERS, store_of(about).url, three)
    single = voting(tmp_path, ploidy=1)
    with raises_golden("start/an-ensemble", UsageError, tmp_path, name=three.name):
        try_start(single, HYPERPARAMETERS, store_of(about).url, three)


def test_the_workload_of_a_job_with_one_network_is_the_workload_itself(tmp_path: Path) -> None:
    assert type(workload_for(voting(tmp_path, ploidy=1))[0]) is Voting
    assert type(workload_for(voting(tmp_path))[0]) is EnsembleWorkload


def test_the_mean_distribution_has_the_logarithms_of_mean_probabilities() -> None:
    logits = torch.tensor([[[2.0, 0.0, -1.0]], [[-3.0, 100.0, 1.0]]])
    found = mean_distribution(list(logits))
    assert torch.allclose(found.exp(), logits.softmax(2).mean(0))
    assert torch.allclose(mean_distribution([logits[0]]), logits[0].log_softmax(1))


def test_the_mean_probability_is_a_logit_also_of_what_is_all_but_certain() -> None:
    logits = torch.tensor([2.0, -1.0])
    found = mean_probability([logits, torch.zeros(2)])
    assert torch.allclose(found.sigmoid(), (logits.sigmoid() + 0.5) / 2)
    sure = mean_probability([torch.tensor([200.0]), torch.tensor([300.0])])
    assert math.isfinite(float(sure))
    assert float(sure) > 100


@pytest.mark.parametrize("kind", [LeNet, ResNet20, FeedForward, Characters, P3B1])
def test_classifiers_predict_together_by_the_mean_of_their_distributions(kind: Any) -> None:
    logits = [torch.randn(5, 10), torch.randn(5, 10)]
    assert torch.allclose(kind().combine(logits).exp(), (logits[0].softmax(1) + logits[1].softmax(1)) / 2)


def test_capsules_predict_together_by_their_mean_lengths_and_events_by_their_mean_probability() -> None:
    lengths = [torch.rand(5, 10), torch.rand(5, 10)]
    assert torch.allclose(CapsNet().combine(lengths), (lengths[0] + lengths[1]) / 2)
    scores = [torch.randn(5, 1), torch.randn(5, 1)]
    assert torch.allclose(RPV().combine(scores).sigmoid(), (scores[0].sigmoid() + scores[1].sigmoid()) / 2)


def test_members_with_several_networks_count_the_parameters_and_flops_of_all(tmp_path: Path) -> None:
    one = run_one(voting(tmp_path / "one", ploidy=1, accounts=True), assignment())
    three = run_one(voting(tmp_path / "three", accounts=True), assignment(networks=starts()))
    for name in ("parameters", "flops"):
        assert three.metrics[name] == 3 * one.metrics[name] > 0


def test_the_loss_of_an_epoch_is_the_mean_over_all_networks(tmp_path: Path) -> None:
    outcome = run_one(voting(tmp_path), assignment(networks=starts()))
    each = [
        run_one(voting(tmp_path / str(at), ploidy=1), assignment(training_seed=network_seed(7, at)))
        for at in range(3)
    ]
    losses = [one.metrics["train_loss"] for one in each]
    assert outcome.metrics["train_loss"] == pytest.approx(sum(losses) / 3, rel=1e-12)
