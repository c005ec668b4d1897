"""Legs of lives that end when they reach a target, or when their time is up."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.records import Assignment, Job, Outcome, WorkUnit
from tests.workers.static.members import Switch
from tests.workers.toys import Clock, Toy, assignment, job, points, prepared, run_one, run_unit, section
from workers import attempt, leg, unit
from workers.hyperparameters import Hyperparameters
from workers.progress import flops_of_step, undisturbed
from workers.training import Leg
from workers.workload import Batch, Splits, Training

HERE = "tests.workers.test_leg_target"
CLOCK = Clock()
SEEN: list[tuple[int, int]] = []
"""Epoch and step of the leg of each evaluation."""
SCRIPT: list[float] = []
"""Accuracies that evaluations have, one after the other; the last one for ever."""


class Scripted(Toy):
    """A batch takes 10 s, an evaluation 1000 s, and what it says is written in `SCRIPT`.

    It draws, changes modes and leaves the shuffling of the data elsewhere, as a user's may.
    """

    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        CLOCK.now += 10
        return super().loss(model, batch, hp)

    def evaluate(self, training: Training, split: str) -> dict[str, float]:
        CLOCK.now += 1000
        SEEN.append((training.epoch, training.step))
        torch.rand(3)
        value = SCRIPT.pop(0) if len(SCRIPT) > 1 else SCRIPT[0]
        return {**super().evaluate(training, split), "validation_accuracy": value}


class Lazy(Toy):
    """Has a part that stays in evaluation mode while the rest is trained."""

    def train(self, training: Training) -> Any:
        steps = super().train(training)
        yield next(steps)
        training.model[1].eval()
        yield from steps


class Shared(Toy):
    """The data are drawn as they are needed, from a generator that both splits share."""

    def data(self, root: str | None) -> Splits:
        generator = torch.Generator()
        train, validation = TensorDataset(*points(100, seed=1)), TensorDataset(*points(30, seed=2))
        drawing = RandomSampler(train, replacement=True, generator=generator)
        loaders = DataLoader(train, 16, sampler=drawing), DataLoader(validation, 30, generator=generator)
        return Splits(*loaders)


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (leg, unit, attempt):
        monkeypatch.setattr(module, "time", CLOCK)
    monkeypatch.setattr(unit, "_idle_since", CLOCK.now)
    SEEN.clear()
    SCRIPT[:] = [0.5]


def aimed(cost: str = "steps", limit: float = 10_000, every: int = 4, evaluations: int = 1) -> dict[str, Any]:
    goals = [{"metric": "validation_accuracy", "at_least": 0.9}]
    about = {"evaluations": evaluations, "every_steps": every, "cost": cost, "limit": limit}
    return {"goals": goals, **about}


def about(directory: Path, use: str = f"{HERE}:Scripted", **changed: Any) -> Job:
    """A job with a target; an epoch of it has 6 steps."""
    target = {"target": aimed(), **changed}
    cost = target["target"]["cost"] if target["target"] else None
    metric = f"{cost}_to_target" if cost else "validation_loss"
    return job(directory, section(use), **{"metric": metric, **target})


def life(the_job: Job, legs: int) -> list[Outcome]:
    """Return the outcomes of a life's legs, of which there are at most `legs`."""
    found: list[Outcome] = []
    for number in range(legs):
        before = found[-1] if found else None
        own = assignment(
            before.checkpoint if before else None,
            attempt=number + 1,
            leg=number,
            epoch=number * the_job.longest_leg,
            training_seed=7 + number,
            progress=before.progress if before else {},
        )
        found.append(run_one(the_job, own))
        assert found[-1].status == "done", found[-1].error
        if found[-1].over:
            break
    return found


def made(directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    return directory


def data_of(directory: Path, outcome: Outcome) -> bytes:
    assert outcome.checkpoint, outcome.error
    return CheckpointStore(str(directory / "params")).read(outcome.checkpoint)


def test_the_fom_is_the_cost_at_the_evaluation_that_completes_the_row(tmp_path: Path) -> None:
    SCRIPT[:] = [0.95, 0.5, 0.92, 0.93, 0.1]
    outcome = run_one(about(tmp_path, longest_leg=5, target=aimed(evaluations=2)), assignment())
    assert (outcome.status, outcome.over, outcome.fom) == ("done", True, 16)
    assert outcome.metrics["steps_to_target"] == outcome.metrics["steps"] == outcome.fom
    assert outcome.progress["steps"] == 16


def test_the_training_stops_there_and_is_not_evaluated_again(tmp_path: Path) -> None:
    SCRIPT[:] = [0.5, 0.95]
    outcome = run_one(about(tmp_path, longest_leg=5), assignment())
    assert SEEN == [(0, 4), (1, 8)]
    assert outcome.metrics["validation_accuracy"] == 0.95
    assert len(outcome.epochs) == 2


def test_seconds_are_those_of_training_alone(tmp_path: Path) -> None:
    SCRIPT[:] = [0.5, 0.95]
    outcome = run_one(about(tmp_path, longest_leg=5, target=aimed("seconds")), assignment())
    assert outcome.fom == outcome.metrics["seconds_to_target"] == 80
    assert outcome.seconds["train"] == 80
    assert outcome.seconds["eval"] == 2000


def test_costs_and_rows_go_on_over_the_legs_of_a_life(tmp_path: Path) -> None:
    SCRIPT[:] = [0.5, 0.5, 0.95, 0.95]  # after steps 4, 6 (the end of the first leg), 8 and 12
    outcomes = life(about(tmp_path, target=aimed("seconds", evaluations=2)), 4)
    assert [outcome.over for outcome in outcomes] == [False, True]
    assert outcomes[0].fom == pytest.approx(10_000 * (1 + 0.4 / 0.9))
    assert (outcomes[1].fom, outcomes[1].progress["seconds"]) == (120, 120)
    assert SEEN == [(0, 4), (0, 6), (1, 2), (1, 6)]


def test_who_does_not_reach_it_ends_at_the_limit_with_a_fom_above(tmp_path: Path) -> None:
    SCRIPT[:] = [0.45, 0.0]
    for cost, limit in (("steps", 10), ("seconds", 100)):
        outcome = run_one(about(tmp_path, longest_leg=5, target=aimed(cost, limit)), assignment())
        assert (outcome.over, outcome.progress["steps"]) == (True, 10)
        assert outcome.fom == pytest.approx(limit * (1.5 if cost == "steps" else 2))


def test_who_reaches_it_at_the_limit_has_reached_it(tmp_path: Path) -> None:
    SCRIPT[:] = [0.5, 0.95]
    assert run_one(about(tmp_path, longest_leg=5, target=aimed(limit=8)), assignment()).fom == 8


def test_a_metric_of_the_target_that_is_nan_is_a_divergence_and_ends_the_life(tmp_path: Path) -> None:
    SCRIPT[:] = [0.5, float("nan")]
    outcome = run_one(about(tmp_path, longest_leg=5), assignment())
    assert (outcome.status, outcome.fom, outcome.progress["steps"]) == ("diverged", None, 8)


def test_a_metric_that_is_not_reported_is_named(tmp_path: Path) -> None:
    target = {**aimed(), "goals": [{"metric": "validation_f1", "at_least": 0.9}]}
    outcome = run_one(about(tmp_path, target=target), assignment())
    assert "not 'validation_f1' of objective.target" in str(outcome.error)


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("use", ["tests.workers.toys:Toy", "tests.workers.static.members:Points"])
def test_evaluations_on_the_way_do_not_change_the_training(
    static: bool, use: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Switch(monkeypatch)(static)
    goals = [{"metric": "validation_loss", "at_most": -1.0}]
    often = {**aimed(every=1), "goals": goals}
    plain = run_one(job(made(tmp_path / "plain"), section(use), longest_leg=3), assignment())
    outcome = run_one(about(made(tmp_path / "often"), use, longest_leg=3, target=often), assignment())
    assert data_of(tmp_path / "often", outcome) == data_of(tmp_path / "plain", plain)
    assert outcome.metrics["validation_loss"] == plain.metrics["validation_loss"]


def test_what_is_evaluated_on_the_way_is_the_member_as_it_is_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Captured steps have the parameters elsewhere."""
    found = []
    for static in (False, True):
        Switch(monkeypatch)(static)
        goals = [{"metric": "validation_loss", "at_most": 0.5}]
        use = "tests.workers.static.members:Points"
        target = {**aimed(every=2), "goals": goals}
        found.append(run_one(about(tmp_path, use, longest_leg=20, target=target), assignment()))
    eager, captured = found
    assert eager.over and eager.fom == captured.fom
    assert captured.metrics["validation_loss"] == pytest.approx(eager.metrics["validation_loss"], rel=1e-4)


@pytest.mark.parametrize("use", ["Lazy", "Shared"])
def test_modes_and_generators_of_the_data_are_afterwards_what_they_were(use: str, tmp_path: Path) -> None:
    goals = [{"metric": "validation_loss", "at_most": -1.0}]
    often, use = {**aimed(every=1), "goals": goals}, f"{HERE}:{use}"
    plain = run_one(job(made(tmp_path / "plain"), section(use)), assignment())
    outcome = run_one(about(made(tmp_path / "often"), use, target=often), assignment())
    assert data_of(tmp_path / "often", outcome) == data_of(tmp_path / "plain", plain)


def test_time_of_a_life_ends_it_after_the_step_at_hand(tmp_path: Path) -> None:
    outcomes = life(about(tmp_path, target=None, member_time_s=85.0), 4)
    assert [outcome.over for outcome in outcomes] == [False, True]
    assert outcomes[1].progress == {"steps": 9, "seconds": 90}
    assert outcomes[1].fom == outcomes[1].metrics["validation_loss"]
    assert "ended by limits.member_time_s after 9 steps" in outcomes[1].notes


def test_time_of_a_life_ends_one_with_a_target_too(tmp_path: Path) -> None:
    outcome = run_one(about(tmp_path, longest_leg=5, member_time_s=50.0), assignment())
    assert (outcome.over, outcome.progress["steps"]) == (True, 5)
    assert outcome.fom == pytest.approx(10_000 * (1 + 0.4 / 0.9))


def test_a_leg_that_ended_early_is_made_again_to_the_same_step_without_evaluations(tmp_path: Path) -> None:
    outcome = run_one(about(tmp_path, longest_leg=5, target=None, member_time_s=85.0), assignment())
    SEEN.clear()
    CLOCK.now += 1e6
    ref = outcome.checkpoint
    assert ref
    (tmp_path / "params" / ref.name).write_bytes(b"damaged")
    again = assignment(remakes=ref, until_step=int(outcome.progress["steps"]), attempt=2)
    slow = about(tmp_path, longest_leg=5, target=None, member_time_s=15.0)
    assert run_one(slow, again).checkpoint == ref
    assert not SEEN


def test_members_with_a_target_take_turns_and_are_what_they_are_alone(tmp_path: Path) -> None:
    goals = [{"metric": "validation_loss", "at_most": 0.8}]
    target = {**aimed(every=2), "goals": goals}
    toy = "tests.workers.toys:Toy"
    both = [assignment(member=name, training_seed=seed, epochs=9) for name, seed in (("a", 1), ("b", 2))]
    by_itself = about(made(tmp_path / "alone"), toy, longest_leg=9, target=target)
    alone = [run_one(by_itself, one).to_json() for one in both]
    together = about(made(tmp_path / "both"), toy, longest_leg=9, target=target, members_per_device=2)
    reports = run_unit(together, both)
    for at, one in enumerate(alone):
        found = reports[at]["outcome"]
        assert (found["fom"], found["metrics"]) == (one["fom"], one["metrics"])
        assert found["checkpoint"]["sha256"] == one["checkpoint"]["sha256"]


def test_flops_are_counted_forward_and_backward_without_leaving_a_trace(tmp_path: Path) -> None:
    toy = prepared(Toy())
    training = toy.begin({"learning_rate": 0.05, "momentum": 0.9}, 7, None)
    steps = toy.train(training)
    next(steps)
    before, drawn = toy.checkpoint(training), torch.random.get_rng_state()
    flops = flops_of_step(toy, {"learning_rate": 0.05, "momentum": 0.9}, 7, Leg(), training)
    # 16 examples; 4 x 8 forward and its weights' gradient, 8 x 3 forward, its weights' and its inputs'
    assert flops == 16 * 2 * (2 * 4 * 8 + 3 * 8 * 3)
    assert toy.checkpoint(training) == before
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert "capture" not in vars(toy)


def test_the_cost_in_flops_is_that_of_a_step_times_the_steps(tmp_path: Path) -> None:
    SCRIPT[:] = [0.5, 0.95]
    outcome = run_one(about(tmp_path, longest_leg=5, target=aimed("flops", 1e9)), assignment())
    assert outcome.fom == 8 * 16 * 2 * (2 * 4 * 8 + 3 * 8 * 3)
    outcome = run_one(about(tmp_path, longest_leg=5, target=aimed("flops", 9.5 * 4352)), assignment())
    assert outcome.over


def test_accounts_are_parameters_and_the_flops_of_the_whole_life(tmp_path: Path) -> None:
    outcomes = life(job(tmp_path, accounts=True), 2)
    plain = life(job(made(tmp_path / "plain")), 2)
    assert [outcome.metrics["parameters"] for outcome in outcomes] == [4 * 8 + 8 + 16 + 8 * 3 + 3] * 2
    each = 16 * 2 * (2 * 4 * 8 + 3 * 8 * 3)
    assert [outcome.metrics["flops"] for outcome in outcomes] == [6 * each, 12 * each]
    for one, other in zip(outcomes, plain, strict=True):
        assert data_of(tmp_path, one) == data_of(tmp_path / "plain", other)
        assert other.progress == {} and "flops" not in other.metrics


def test_a_network_without_products_has_no_cost_in_flops(tmp_path: Path) -> None:
    use = f"{HERE}:Elementwise"
    outcome = run_one(about(tmp_path, use, target=aimed("flops", 1e9)), assignment())
    assert "finds no FLOPs" in str(outcome.error)
    outcome = run_one(job(tmp_path, section(use), accounts=True), assignment())
    assert outcome.status == "done" and "flops" not in outcome.metrics


class Elementwise(Toy):
    def model(self) -> nn.Module:
        return nn.Sequential(nn.BatchNorm1d(4), nn.Softmax(1))


def test_records_of_a_target_cross_process_borders_unchanged(tmp_path: Path) -> None:
    the_job = about(tmp_path, member_time_s=5.0, accounts=True, legs=3)
    one = assignment(progress={"steps": 3, "seconds": 1.5}, until_step=4)
    again = WorkUnit.from_text(WorkUnit(the_job, [one]).to_text())
    assert (again.job, list(again.assignments)) == (the_job, [one])
    outcome = Outcome("done", 1.0, progress={"steps": 3}, over=True)
    assert Outcome.from_json(json.loads(json.dumps(outcome.to_json()))) == outcome
    assert Outcome("done", 1.0).to_json() == {"status": "done", "fom": 1.0}
    assert Assignment("a", 1, {}, None, 0, 7).progress == {}


def test_a_workload_that_is_not_a_training_of_ours_may_be_left_undisturbed_too() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with undisturbed(object(), object()):
        torch.rand(5)
    assert torch.equal(torch.rand(2), expected)
