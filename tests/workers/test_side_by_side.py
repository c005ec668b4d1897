"""Members that a worker trains concurrently: each is what it would be alone, whatever happens to others."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from evodevo.errors import Unfit
from evodevo.run.records import Assignment, Job, Outcome, WorkUnit
from tests.workers.conftest import Program
from tests.workers.made_images import bands
from tests.workers.toys import HYPERPARAMETERS, Clock, Toy, assignment, job, points, section
from workers import attempt, departure, leg, room, unit
from workers.hyperparameters import Hyperparameters
from workers.room import Room
from workers.seeding import Randomness
from workers.training import Training
from workers.unit import carry_out
from workers.workload import Batch, Splits
from workers.workloads.lenet import LeNet
from workers.workloads.resnet20 import ResNet20

HERE = "tests.workers.test_side_by_side"
STEPS: list[float] = []
"""The learning rate of each step, in the order in which they were made."""
IN_TURN = [1, 3, 8]


class Watched(Toy):
    """Keeps in mind whose step each was. One with `raises` fails in its third step."""

    def step(self, training: Training, batch: Batch) -> Tensor:
        STEPS.append(training.hyperparameters["learning_rate"])
        if training.hyperparameters.get("raises") and training.step == 2:
            raise ArithmeticError("odd")
        loss = super().step(training, batch)
        return loss * torch.nan if training.hyperparameters.get("diverges") else loss

    def metrics(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor | float]:
        return {**super().metrics(model, batch), "draw": float(torch.rand(()))}


class FewDigits(LeNet):
    def data(self, root: str | None) -> Splits:
        generator = torch.Generator().manual_seed(1)
        images, labels = torch.randn(240, 1, 28, 28, generator=generator), torch.arange(240) % 10
        return Splits((images[:200], labels[:200]), (images[200:], labels[200:]))


class FewImages(ResNet20):
    def data(self, root: str | None) -> Splits:
        return Splits(bands(64), bands(40, seed=1))


class Loaded(Watched):
    """Uses a DataLoader whose sampler draws repeatedly from a generator within an epoch."""

    def data(self, root: str | None) -> Splits:
        inputs, labels = points(100, seed=1)
        sampler = RandomSampler(range(100), True, 100, torch.Generator())
        return Splits(DataLoader(TensorDataset(inputs, labels), 16, sampler=sampler), points(30, seed=2))


class Wide(Watched):
    """The width of its network is a hyperparameter."""

    def model_of(self, hp: Hyperparameters) -> nn.Module:
        width = hp["width"]
        return nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Dropout(0.2), nn.Linear(width, 3))


def members(count: int, **more: Any) -> list[Assignment]:
    return [
        assignment(
            member=f"g0s{number}",
            hyperparameters={**HYPERPARAMETERS, "learning_rate": 0.01 * (number + 1), **more},
            training_seed=number,
        )
        for number in range(count)
    ]


def carried_out(about: Job, given: Sequence[Assignment], at_once: int) -> dict[int, dict[str, Any]]:
    """The last report of each member."""
    told: dict[int, dict[str, Any]] = {}
    carry_out(
        WorkUnit(replace(about, members_per_device=at_once), given),
        lambda report: told.update({report["index"]: dict(report)}),
    )
    return told


def what_came(told: Mapping[int, dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Everything of the outcomes but their seconds; the checkpoint's digest is of its bytes."""
    found = []
    for index in sorted(told):
        outcome = Outcome.from_json(told[index]["outcome"])
        ref = outcome.checkpoint and outcome.checkpoint.sha256
        found.append((outcome.status, outcome.fom, repr(outcome.metrics), repr(outcome.epochs), ref))
    return found


@pytest.fixture(autouse=True)
def no_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn is a step, however short that is."""
    monkeypatch.setattr(attempt, "TURN_S", 0.0)
    STEPS.clear()


@pytest.mark.parametrize(
    ("use", "options", "more"),
    [
        ("Watched", {}, {"anneal": 0.5}),
        ("FewDigits", {}, {"max_shift": 2}),
        ("FewImages", {"batch_size": 16, "pixels": 16, "depth": 8}, {}),
        ("Loaded", {}, {}),
    ],
    ids=["dropout", "lenet", "resnet8", "loader"],
)
def test_members_side_by_side_are_bit_for_bit_what_they_are_one_by_one(
    tmp_path: Path, use: str, options: dict[str, Any], more: dict[str, Any]
) -> None:
    about = job(tmp_path, section(f"{HERE}:{use}", **options), longest_leg=2, average_half_life=1.0)
    given = [replace(one, epochs=2) for one in members(8, **more)]
    found = {count: what_came(carried_out(about, given, count)) for count in IN_TURN}
    assert [status for status, *_ in found[1]] == ["done"] * 8
    assert len({ref for *_, ref in found[1]}) == 8
    assert found[3] == found[1]
    assert found[8] == found[1]


def test_each_has_a_step_in_turn_and_the_next_begins_when_one_is_done(tmp_path: Path) -> None:
    told: list[tuple[int, str]] = []

    def report(report: Mapping[str, Any]) -> None:
        told.append((report["index"], "ended" if "outcome" in report else "begun"))

    about = job(tmp_path, section(f"{HERE}:Watched"), members_per_device=2)
    given = members(3)
    carry_out(WorkUnit(about, [replace(given[0], epochs=2), *given[1:]]), report)
    rates = [0.01, 0.02] * 6 + [0.01, 0.03] * 6
    assert [round(rate, 6) for rate in STEPS] == rates
    assert [one for one in told if one[1] == "begun"] == [(0, "begun"), (1, "begun"), (2, "begun")]
    assert told.index((2, "begun")) < told.index((0, "ended"))


def test_short_steps_share_a_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr(attempt, "TURN_S", 2.5)
    about = job(tmp_path, section(f"{HERE}:Timed"))
    told = carried_out(about, members(3)[1:], 2)
    assert [round(rate, 6) for rate in STEPS] == ([0.02] * 3 + [0.03] * 3) * 2
    assert what_came(told) == what_came(carried_out(about, members(3)[1:], 1))


def test_members_with_networks_of_their_own_are_trained_side_by_side(tmp_path: Path) -> None:
    about = job(tmp_path, section(f"{HERE}:Wide"))
    given = [
        replace(one, hyperparameters={**one.hyperparameters, "width": 3 + at})
        for at, one in enumerate(members(4))
    ]
    found = what_came(carried_out(about, given, 4))
    assert [status for status, *_ in found] == ["done"] * 4
    assert found == what_came(carried_out(about, given, 1))


@pytest.mark.parametrize("trouble", ["raises", "diverges"])
def test_one_that_raises_or_diverges_does_not_touch_its_neighbours(tmp_path: Path, trouble: str) -> None:
    about = job(tmp_path, section(f"{HERE}:Watched"))
    given = members(4)
    troubled = [*given]
    troubled[1] = replace(given[1], hyperparameters={**given[1].hyperparameters, trouble: True})
    expected = what_came(carried_out(about, given, 1))
    found = what_came(carried_out(about, troubled, 3))
    if trouble == "raises":
        assert found[1][0] == "failed"
        assert found[1][4] is None
    else:
        assert found[1][2] != expected[1][2]
        assert "nan" in found[1][2]
    assert [found[at] for at in (0, 2, 3)] == [expected[at] for at in (0, 2, 3)]


def test_one_that_does_not_load_is_lost_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = job(tmp_path, section(f"{HERE}:Watched"))
    given = members(4)
    expected = what_came(carried_out(about, given, 1))
    begin = Watched.begin

    def failing(toy: Watched, hyperparameters: Mapping[str, Any], *more: Any) -> Training:
        if hyperparameters["learning_rate"] == 0.02:
            raise OSError("the disk is away")
        return begin(toy, hyperparameters, *more)

    monkeypatch.setattr(Watched, "begin", failing)
    told = carried_out(about, given, 3)
    assert told.pop(1)["lost"] == "OSError: the disk is away"
    assert what_came(told) == [expected[at] for at in (0, 2, 3)]


def test_a_worker_that_is_unfit_reports_what_is_done_and_none_of_those_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Watched.begin

    def unfit(toy: Watched, hyperparameters: Mapping[str, Any], *more: Any) -> Training:
        if hyperparameters["learning_rate"] == 0.03:
            raise Unfit("its data differ")
        return begin(toy, hyperparameters, *more)

    monkeypatch.setattr(Watched, "begin", unfit)
    given = members(4)
    given[1] = replace(given[1], epochs=5)
    told: list[dict[str, Any]] = []
    about = job(tmp_path, section(f"{HERE}:Watched"), members_per_device=2)
    with pytest.raises(Unfit, match="its data differ"):
        carry_out(WorkUnit(about, given), lambda report: told.append(dict(report)))
    assert [report["index"] for report in told if "outcome" in report] == [0]
    assert not any("lost" in report for report in told)


def test_a_departing_worker_finishes_those_that_have_begun_and_begins_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(departure, "_announced", False)
    told: list[dict[str, Any]] = []

    def report(report: Mapping[str, Any]) -> None:
        told.append(dict(report))
        if report == {"index": 2}:
            monkeypatch.setattr(departure, "_announced", True)

    carry_out(WorkUnit(job(tmp_path, members_per_device=3), members(6)), report)
    assert sorted(one["index"] for one in told if "outcome" in one) == [0, 1, 2]
    assert sorted(one["index"] for one in told if "outcome" not in one) == [0, 1, 2]


def test_of_one_member_at_a_time_no_generator_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(randomness: Randomness) -> None:
        raise AssertionError("saved")

    monkeypatch.setattr(Randomness, "save", never)
    found = what_came(carried_out(job(tmp_path), members(3), 1))
    assert [status for status, *_ in found] == ["done"] * 3


CLOCK = Clock()


class Timed(Watched):
    """Takes 1 s to begin, 10 s a batch of the first member and 1 s one of others, and 100 s to evaluate."""

    def begin(self, *given: Any, **named: Any) -> Training:
        CLOCK.now += 1
        return super().begin(*given, **named)

    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        CLOCK.now += 10 if hp["learning_rate"] == 0.01 else 1
        return super().loss(model, batch, hp)

    def evaluate(self, training: Training, split: str) -> dict[str, float]:
        CLOCK.now += 100
        return super().evaluate(training, split)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    for module in (leg, unit, attempt):
        monkeypatch.setattr(module, "time", CLOCK)
    monkeypatch.setattr(unit, "_idle_since", CLOCK.now)
    monkeypatch.setattr(unit, "ready_at", lambda: 0.0)
    return CLOCK


def test_each_counts_its_own_turns_and_all_together_are_the_time_of_the_unit(
    tmp_path: Path, clock: Clock
) -> None:
    began = clock.now
    told = carried_out(job(tmp_path, section(f"{HERE}:Timed")), members(3), 2)
    outcomes = [Outcome.from_json(told[at]["outcome"]) for at in range(3)]
    parts = [
        {part: value for part, value in one.seconds.items() if part in ("load", "train", "eval")}
        for one in outcomes
    ]
    assert parts == [
        {"load": 1, "train": 60, "eval": 100},
        {"load": 1, "train": 6, "eval": 100},
        {"load": 1, "train": 6, "eval": 100},
    ]
    assert sum(one.busy_s for one in outcomes) == clock.now - began
    assert [one.there_s for one in outcomes] == [1 + 1 + 66 + 100, 1 + 66 + 100 + 100, 107]


def test_the_time_limit_of_a_member_counts_only_its_own_turns(tmp_path: Path, clock: Clock) -> None:
    about = job(tmp_path, section(f"{HERE}:Timed"), epoch_timeout_s=25.0)
    told = carried_out(about, members(3), 3)
    lost = told.pop(0)["lost"]
    assert lost == "TimeoutError: the epoch took longer than limits.epoch_timeout_s = 25"
    assert [status for status, *_ in what_came(told)] == ["done", "done"]


RENDEZVOUS = """\
import sys, time
from pathlib import Path
me, other = Path(sys.argv[1]), Path(sys.argv[2])
me.touch()
end = time.monotonic() + 20
while not other.exists():
    assert time.monotonic() < end, "the other one does not run"
    time.sleep(0.01)
print("FoM: 1.0")
"""


def test_programs_run_at_the_same_time(tmp_path: Path, program: Program) -> None:
    command = [*program(RENDEZVOUS), "{me}", "{other}"]
    about = job(tmp_path, section(command=command), metric="fom")
    names = [str(tmp_path / "first"), str(tmp_path / "second")]
    hyperparameters = [dict(zip(("me", "other"), order, strict=True)) for order in (names, names[::-1])]
    given = [assignment(member=f"g0s{at}", hyperparameters=hyperparameters[at]) for at in range(2)]
    assert [status for status, *_ in what_came(carried_out(about, given, 2))] == ["done", "done"]


# Members that are trained together.

STACKED: list[list[float]] = []
"""The members of each epoch that was trained together."""


class Stackable(Watched):
    """Trains any members together, one step of each after the other. `trouble` is what happens then."""

    def __init__(self, trouble: Literal["", "raise", "slow", "refuse"] = "", batch_size: int = 16) -> None:
        super().__init__(batch_size)
        self.trouble = trouble

    def stackable(self, trainings: Sequence[Training]) -> bool:
        return self.trouble != "refuse"

    def train_together(
        self, trainings: Sequence[Training], randomness: Sequence[Randomness]
    ) -> Generator[list[Tensor], None, None]:
        STACKED.append([round(one.hyperparameters["learning_rate"], 6) for one in trainings])
        each = [self.train(training) for training in trainings]
        while True:
            if self.trouble == "raise" and trainings[0].step == 2:
                raise ArithmeticError("odd")
            if self.trouble == "slow":
                CLOCK.now += 30
            losses = []
            for own, steps in zip(randomness, each, strict=True):
                with own.in_force():
                    losses.append(next(steps, None))
            if losses[0] is None:
                return
            yield [torch.as_tensor(loss) for loss in losses]


@pytest.fixture(autouse=True)
def nothing_stacked() -> None:
    STACKED.clear()


@pytest.mark.parametrize("steps", [None, 4, 9])
def test_members_of_a_workload_that_stacks_them_are_trained_together_an_epoch_at_a_time(
    tmp_path: Path, steps: int | None
) -> None:
    about = job(tmp_path, section(f"{HERE}:Stackable"), steps=steps, longest_leg=2)
    given = [replace(one, epochs=2) for one in members(5)]
    expected = what_came(carried_out(about, given, 1))
    assert STACKED == []
    assert what_came(carried_out(about, given, 3)) == expected
    epochs = 1 if steps == 4 else 2
    assert [[0.01, 0.02, 0.03]] * epochs + [[0.04, 0.05]] * epochs == STACKED


def test_members_are_trained_one_by_one_if_the_workload_does_not_stack_them(tmp_path: Path) -> None:
    about = job(tmp_path, section(f"{HERE}:Stackable", trouble="refuse"))
    assert what_came(carried_out(about, members(3), 3)) == what_came(carried_out(about, members(3), 1))
    assert STACKED == []


def test_what_goes_wrong_while_members_are_trained_together_is_done_again_one_by_one(tmp_path: Path) -> None:
    expected = what_came(carried_out(job(tmp_path, section(f"{HERE}:Watched")), members(4), 1))
    told = carried_out(job(tmp_path, section(f"{HERE}:Stackable", trouble="raise")), members(4), 3)
    assert what_came(told) == expected
    assert STACKED == [[0.01, 0.02, 0.03]]
    notes = [Outcome.from_json(told[at]["outcome"]).notes for at in range(4)]
    said = "trained by itself, as training it together with others failed: ArithmeticError: odd"
    assert [list(one) for one in notes] == [[said]] * 3 + [[]]


def test_the_time_of_a_step_of_all_is_shared_and_so_is_its_limit(tmp_path: Path, clock: Clock) -> None:
    about = job(tmp_path, section(f"{HERE}:Stackable", trouble="slow"))
    told = carried_out(about, members(3), 3)
    assert [Outcome.from_json(told[at]["outcome"]).seconds["train"] for at in range(3)] == [70.0] * 3
    told = carried_out(replace(about, epoch_timeout_s=25.0), members(3), 3)
    said = "TimeoutError: the epoch took longer than limits.epoch_timeout_s = 25"
    assert [told[at].get("lost") for at in range(3)] == [said] * 3


# Members that do not fit.


class Hungry(Watched):
    """Has memory for `places` training members; with `alone`, for none while there are other workers."""

    at_work = 0
    neighbours: Room | None = None

    def __init__(self, places: int = 99, alone: bool = False) -> None:
        super().__init__()
        self.places = places
        self.alone = alone

    def train(self, training: Training) -> Generator[Tensor, None, None]:
        Hungry.at_work += 1
        try:
            if Hungry.at_work > self.places or (self.alone and Hungry.neighbours is not None):
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            yield from super().train(training)
        finally:
            Hungry.at_work -= 1


def test_one_that_does_not_fit_beside_others_waits_for_one_of_them_and_is_what_it_would_be(
    tmp_path: Path,
) -> None:
    expected = what_came(carried_out(job(tmp_path, section(f"{HERE}:Watched")), members(5), 1))
    told = carried_out(job(tmp_path, section(f"{HERE}:Hungry", places=2)), members(5), 4)
    assert what_came(told) == expected
    notes = [one for at in range(5) for one in Outcome.from_json(told[at]["outcome"]).notes]
    assert sorted(notes) == [
        "no memory was left beside 2 other members: begun again",
        "no memory was left beside 3 other members: begun again",
    ]


def test_one_that_does_not_fit_by_itself_has_failed(tmp_path: Path) -> None:
    told = carried_out(job(tmp_path, section(f"{HERE}:Hungry", places=0)), members(2), 2)
    found = [Outcome.from_json(told[at]["outcome"]) for at in range(2)]
    assert [one.status for one in found] == ["failed"] * 2
    assert all("CUDA out of memory" in str(one.error) for one in found)


@pytest.fixture
def neighbour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    """Another worker of the same device, which is at work."""
    other, own = Room(tmp_path / "GPU-5"), Room(tmp_path / "GPU-5")
    other.enter(lambda: None)
    Hungry.neighbours = other
    monkeypatch.setattr(unit.preload, "current_room", lambda: own)
    return other


def test_one_that_does_not_fit_beside_other_workers_waits_until_they_have_left_the_device(
    tmp_path: Path, neighbour: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = iter(range(9))

    def sleep(seconds: float) -> None:
        if next(waits) == 2:
            neighbour.leave()
            Hungry.neighbours = None

    CLOCK.sleep = sleep  # type: ignore[attr-defined]
    monkeypatch.setattr(room, "time", CLOCK)
    told: list[dict[str, Any]] = []
    unit_of_two = WorkUnit(job(tmp_path, section(f"{HERE}:Hungry", alone=True)), members(2))
    carry_out(unit_of_two, lambda report: told.append(dict(report)))
    found = [Outcome.from_json(one["outcome"]) for one in told if "outcome" in one]
    assert [one.status for one in found] == ["done"] * 2
    said = "no memory was left beside other workers of the device: begun again without them"
    assert [list(one.notes) for one in found] == [[said], []]
    neighbour.enter(lambda: pytest.fail("the device is still kept"))


def test_one_that_waits_for_memory_when_its_worker_has_to_leave_is_lost(
    tmp_path: Path, neighbour: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(departure, "_announced", True)
    told = carried_out(job(tmp_path, section(f"{HERE}:Hungry", alone=True)), members(2), 1)
    assert list(told) == [0]
    assert "this one has to leave" in told[0]["lost"]
