"""The training losses within an epoch, where a run asks for them."""

import math
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from evodevo.errors import UsageError
from evodevo.evolution.rng import network_seed
from evodevo.run.records import EpochLosses, Job, NetworkStart, Outcome
from tests.golden import raises_golden
from tests.workers.static.members import Switch, made
from tests.workers.toys import HYPERPARAMETERS, Toy, assignment, job, run_one, run_unit, section
from tests.workers.workloads.test_detector import squares
from workers.cache import workload_for
from workers.combining import mean_distribution
from workers.data.detection import DetectionData
from workers.describe import describe
from workers.training import means_of_stretches
from workers.workload import Batch, Splits, Training
from workers.workloads.detector import YOLO

HERE = "tests.workers.test_leg_losses"
STEPS = 6  # whole batches of 16 among 100 examples
TRANSLATION: dict[str, Any] = {
    "corpus": "evbnews", "validation_examples": 8, "test_examples": 8, "min_count": 1,
    "layers": 1, "units": 4, "batch_size": 8,
}  # fmt: skip


class Counting(Toy):
    """The loss of step n of a member, from 1, is n; in a member with `nan_at`, that of this step is NaN."""

    def step(self, training: Training, batch: Batch) -> Tensor:
        super().step(training, batch)
        number = training.epoch * STEPS + training.step % STEPS + 1
        return torch.tensor(math.nan if number == training.hyperparameters.get("nan_at") else float(number))

    def combine(self, outputs: Sequence[Tensor]) -> Tensor:
        return mean_distribution(outputs)


class Overwriting(Counting):
    """Writes its losses, the seed's last digit higher, into one tensor, as captured steps do."""

    table = torch.zeros(STEPS)

    def train(self, training: Training) -> Generator[Tensor, None, None]:
        for number, loss in enumerate(super().train(training)):
            self.table[number] = loss + training.generator.initial_seed() % 10
            yield self.table[number]


class Silent(Toy):
    def train(self, training: Training) -> Generator[Any, None, None]:
        for _ in super().train(training):
            yield None


class Squares(YOLO):
    def data(self, root: str | None) -> Splits:
        found = Splits(squares(24, 0), squares(8, 1))
        self.found = DetectionData(found, ["bright", "dark"], 0)
        return found


class Plain(Toy):
    pass


def twice(x: float) -> float:
    return 2 * x


def asking(directory: Path, count: int, kind: type[Toy] = Counting, **changed: Any) -> Job:
    return job(directory, section(f"{HERE}:{kind.__name__}"), losses_per_epoch=count, **changed)


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_stretches_follow_each_other_and_differ_by_one_step_at_most() -> None:
    ten = numbers(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
    assert means_of_stretches([ten], 4) == [1.5, 4.0, 6.5, 9.0]  # 1 2 | 3 4 5 | 6 7 | 8 9 10
    assert means_of_stretches([ten], 1) == [5.5]
    assert means_of_stretches([ten], 10) == ten.tolist()


def test_there_are_no_more_stretches_than_steps() -> None:
    assert means_of_stretches([numbers(3, 1, 2)], 1000) == [3.0, 1.0, 2.0]


def test_stretches_of_several_networks_are_averaged_even_if_their_steps_differ_in_number() -> None:
    assert means_of_stretches([numbers(1, 2, 3, 4), numbers(10, 20)], 2) == [5.75, 11.75]
    assert means_of_stretches([numbers(1, 2, 3, 4), numbers(10, 20)], 3) == [5.75, 11.75]


def test_each_epoch_of_a_leg_has_its_own(tmp_path: Path) -> None:
    outcome = run_one(asking(tmp_path, 4, longest_leg=2), assignment())
    assert outcome.losses == [
        EpochLosses(6, [1.0, 2.5, 4.0, 5.5]),
        EpochLosses(6, [7.0, 8.5, 10.0, 11.5]),
    ]
    assert outcome.epochs == [{"train_loss": 3.5}, {"train_loss": 9.5}]


def test_a_leg_given_in_steps_has_those_of_the_epoch_that_it_leaves_unfinished(tmp_path: Path) -> None:
    outcome = run_one(asking(tmp_path, 4, steps=8), assignment())
    assert outcome.losses == [EpochLosses(6, [1.0, 2.5, 4.0, 5.5]), EpochLosses(2, [7.0, 8.0])]


def test_a_life_that_ends_within_an_epoch_has_those_of_its_steps(tmp_path: Path) -> None:
    goals = [{"metric": "validation_loss", "at_most": -1.0}]
    target = {"goals": goals, "evaluations": 1, "every_steps": 4, "cost": "steps", "limit": 5}
    outcome = run_one(asking(tmp_path, 2, metric="steps_to_target", target=target), assignment())
    assert outcome.over, outcome.error
    assert outcome.losses == [EpochLosses(5, [1.5, 4.0])]


def test_nothing_else_of_the_outcome_changes_and_without_the_key_it_has_none(tmp_path: Path) -> None:
    def told(count: int) -> dict[str, Any]:
        outcome = run_one(asking(tmp_path, count, Plain, longest_leg=2), assignment())
        assert outcome.checkpoint, outcome.error
        assert ("losses" in outcome.to_json()) == (count > 0)
        data = replace(outcome.without_times(), losses=()).to_json()
        del data["checkpoint"]["name"]  # of which a part is drawn; sha256 is the same
        return data

    assert told(3) == told(1000) == told(0)


def test_a_member_that_diverges_in_an_epoch_keeps_all_that_it_reported(tmp_path: Path) -> None:
    given = assignment(hyperparameters={**HYPERPARAMETERS, "nan_at": 3})
    outcome = run_one(asking(tmp_path, 3), given)
    assert repr(outcome.losses) == "[EpochLosses(steps=6, means=[1.5, nan, 5.5])]"
    assert math.isnan(outcome.metrics["train_loss"])


@pytest.mark.parametrize("at_once", [1, 3])
def test_the_members_of_a_bundle_have_what_each_has_alone(tmp_path: Path, at_once: int) -> None:
    about = asking(tmp_path, 4, Plain, longest_leg=2, members_per_device=at_once)
    members = [assignment(member=f"m{at}", training_seed=at, epochs=2) for at in range(4)]
    reports = run_unit(about, members)
    together = [Outcome.from_json(reports[at]["outcome"]) for at in range(4)]
    alone = [run_one(asking(tmp_path, 4, Plain, longest_leg=2), one) for one in members]
    assert [one.losses for one in together] == [one.losses for one in alone]
    assert len({repr(one.losses) for one in alone}) == 4


def test_an_ensemble_has_the_means_over_its_networks_though_each_overwrites_the_losses_of_the_last(
    tmp_path: Path,
) -> None:
    networks = tuple(NetworkStart(None, 0, network_seed(7, at), HYPERPARAMETERS) for at in range(2))
    outcome = run_one(asking(tmp_path, 3, Overwriting, ploidy=2), assignment(networks=networks))
    higher = sum(one.training_seed % 10 for one in networks) / 2
    assert len({one.training_seed % 10 for one in networks}) == 2
    assert outcome.losses == [EpochLosses(6, [1.5 + higher, 3.5 + higher, 5.5 + higher])]
    assert outcome.metrics["train_loss"] == 3.5 + higher


@pytest.mark.parametrize("ploidy", [1, 2])
def test_captured_steps_have_the_losses_of_plain_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ploidy: int
) -> None:
    static, found = Switch(monkeypatch), []
    use = section("workers.workloads.lenet:LeNet", train_examples=600, batch_size=50)
    given = {"learning_rate": 0.05, "max_shift": 1}
    networks = tuple(NetworkStart(None, 0, network_seed(7, at), given) for at in range(ploidy))
    own = {"networks": networks} if ploidy > 1 else {}
    for on in (False, True):
        static(on)
        about = job(tmp_path, use, losses_per_epoch=5, ploidy=ploidy)
        found.append(run_one(about, assignment(hyperparameters=given, **own)))
    plain, captured = found
    assert made(workload_for(job(tmp_path, use))[0])
    assert captured.metrics["train_loss"] == pytest.approx(plain.metrics["train_loss"], rel=1e-4)
    assert captured.losses[0].means == pytest.approx(plain.losses[0].means, rel=1e-4)
    assert (captured.losses[0].steps, len(plain.losses[0].means)) == (12, 5)


def test_the_detector_and_the_translation_whose_steps_are_their_own_have_them_too(tmp_path: Path) -> None:
    for language in ("vi", "en"):
        sentences = [f"{language} {first} {second}\n" for first in "abcdefgh" for second in "abcdefghij"]
        (tmp_path / f"evbnews.{language}").write_text("".join(sentences))
    found = [
        run_one(
            job(tmp_path, use, losses_per_epoch=2, data_root=str(tmp_path)), assignment(hyperparameters=own)
        )
        for use, own in (
            (section(f"{HERE}:Squares", batch_size=8, pixels=64, width=0.125), {"lr0": 0.004}),
            (section("workers.workloads.nmt:NMT", **TRANSLATION), {"learning_rate": 0.5}),
        )
    ]
    for outcome, count in zip(found, (3, 8), strict=True):
        assert outcome.status == "done", outcome.error
        (epoch,) = outcome.losses
        first = count // 2
        mean = (epoch.means[0] * first + epoch.means[1] * (count - first)) / count
        assert epoch.steps == count
        assert outcome.metrics["train_loss"] == pytest.approx(mean)


def test_a_workload_that_yields_no_losses_has_none(tmp_path: Path) -> None:
    outcome = run_one(asking(tmp_path, 3, Silent), assignment())
    assert (outcome.status, outcome.losses) == ("done", ())


def test_a_function_which_reports_no_losses_is_refused_before_the_run(tmp_path: Path) -> None:
    options = {"function": f"{HERE}:twice"}
    about = job(tmp_path, section("workers.workloads.function:Function", **options), metric="fom")
    assert describe(about, [{"x": 1.0}])["metrics"] == ["fom"]
    with raises_golden("losses/function", UsageError):
        describe(replace(about, losses_per_epoch=3), [{"x": 1.0}])
