"""Units of several members: each is what it would be alone, and is reported as soon as it is durable."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from evodevo.errors import Unfit
from evodevo.run.checkpoints import CheckpointError, CheckpointStore
from evodevo.run.records import Assignment, CheckpointRef, Outcome, WorkUnit
from tests.workers.conftest import PATIENCE_S
from tests.workers.toys import HYPERPARAMETERS, Toy, assignment, job, run_one, run_unit, section
from workers import departure
from workers.hyperparameters import Hyperparameters
from workers.unit import carry_out
from workers.workload import Batch

HERE = "tests.workers.test_unit"
MISSING = CheckpointRef("g0s9-a1-000000000000.safetensors", 3, "0" * 64)
FIRST_IS_TOLD = threading.Event()


class Patient(Toy):
    """From its second member on, it trains only when the first one is told of."""

    members = 0

    def model(self) -> nn.Module:
        self.members += 1
        return super().model()

    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        if self.members > 1:
            assert FIRST_IS_TOLD.wait(PATIENCE_S), "the second member was trained before the first was told"
        return super().loss(model, batch, hp)


def members(count: int, parent: CheckpointRef | None = None) -> list[Assignment]:
    return [
        assignment(
            parent if number % 2 else None,
            member=f"g1s{number}",
            hyperparameters={**HYPERPARAMETERS, "learning_rate": 0.01 * (number + 1)},
            training_seed=number,
        )
        for number in range(count)
    ]


def what_came(outcome: Outcome) -> tuple[Any, ...]:
    assert outcome.checkpoint, outcome.error
    return outcome.status, outcome.fom, outcome.metrics, outcome.checkpoint.sha256


def outcomes(reports: dict[int, dict[str, Any]]) -> dict[int, Outcome]:
    return {at: Outcome.from_json(told["outcome"]) for at, told in reports.items() if "outcome" in told}


def lost(reports: dict[int, dict[str, Any]]) -> dict[int, str]:
    return {at: told["lost"] for at, told in reports.items() if "lost" in told}


def test_members_of_a_unit_are_bit_for_bit_what_they_are_in_units_of_their_own(tmp_path: Path) -> None:
    about = job(tmp_path)
    parent = run_one(about, assignment()).checkpoint
    given = members(5, parent)
    together = outcomes(run_unit(about, given))
    alone = [run_one(about, one) for one in reversed(given)][::-1]
    assert [what_came(together[at]) for at in range(5)] == [what_came(outcome) for outcome in alone]
    assert len({outcome.fom for outcome in together.values()}) == 5
    assert [together[at].checkpoint.name[:7] for at in range(5)] == [f"g1s{at}-a1" for at in range(5)]  # type: ignore[union-attr]


def test_each_member_is_told_when_it_begins_and_when_its_checkpoint_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable: set[str] = set()
    write = CheckpointStore.write

    def watched(store: CheckpointStore, contents: dict[str, bytes]) -> None:
        write(store, contents)
        durable.update(contents)

    told: list[tuple[int, str]] = []

    def report(report: Any) -> None:
        told.append((report["index"], "ended" if "outcome" in report else "begun"))
        if "outcome" in report:
            name = report["outcome"]["checkpoint"]["name"]
            assert name in durable
            assert (tmp_path / "params" / name).stat().st_size
            assert report["started_at"] > 0

    monkeypatch.setattr(CheckpointStore, "write", watched)
    carry_out(WorkUnit(job(tmp_path), members(4)), report)
    assert [index for index, what in told if what == "begun"] == [0, 1, 2, 3]
    assert [index for index, what in told if what == "ended"] == [0, 1, 2, 3]
    assert all(told.index((index, "begun")) < told.index((index, "ended")) for index in range(4))


def test_a_member_is_told_of_while_those_after_it_are_trained(tmp_path: Path) -> None:
    FIRST_IS_TOLD.clear()
    ended: list[Any] = []

    def report(report: Any) -> None:
        if "outcome" in report:
            ended.append(report["outcome"])
            FIRST_IS_TOLD.set()

    carry_out(WorkUnit(job(tmp_path, section(f"{HERE}:Patient")), members(3)), report)
    assert [outcome["status"] for outcome in ended] == ["done"] * 3, ended


def test_a_member_whose_parent_is_missing_is_lost_and_the_others_go_on(tmp_path: Path) -> None:
    given = members(4)
    given[1] = assignment(MISSING, member="g1s1")
    reports = run_unit(job(tmp_path), given)
    assert set(outcomes(reports)) == {0, 2, 3}
    ((at, why),) = lost(reports).items()
    assert (at, why.startswith("DamagedCheckpointError: ")) == (1, True)
    assert MISSING.name in why
    expected = [run_one(job(tmp_path), one) for one in (given[0], *given[2:])]
    assert [what_came(one) for one in outcomes(reports).values()] == [what_came(one) for one in expected]


def test_a_member_that_fails_is_an_outcome_and_the_others_go_on(tmp_path: Path) -> None:
    given = members(3)
    given[0] = assignment(member="g1s0", hyperparameters={})
    found = outcomes(run_unit(job(tmp_path), given))
    assert [found[at].status for at in range(3)] == ["failed", "done", "done"]


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_checkpoint_that_cannot_be_written_loses_its_own_member_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    write = CheckpointStore.write

    def full(store: CheckpointStore, contents: dict[str, bytes]) -> None:
        if any(name.startswith(f"g1s{bad}-") for name in contents):
            raise CheckpointError("the disk is full")
        write(store, contents)

    monkeypatch.setattr(CheckpointStore, "write", full)
    reports = run_unit(job(tmp_path), members(3))
    assert lost(reports) == {bad: "CheckpointError: the disk is full"}
    assert set(outcomes(reports)) == {0, 1, 2} - {bad}


@pytest.mark.parametrize("told_to_leave_in", [0, 1])
def test_a_departing_worker_ends_the_member_at_hand_and_begins_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told_to_leave_in: int
) -> None:
    reports: list[dict[str, Any]] = []
    monkeypatch.setattr(departure, "_announced", False)

    def report(report: Any) -> None:
        reports.append(report)
        if report == {"index": told_to_leave_in}:
            monkeypatch.setattr(departure, "_announced", True)

    carry_out(WorkUnit(job(tmp_path), members(4)), report)
    expected = list(range(told_to_leave_in + 1))
    assert begun(reports) == expected
    assert [told["index"] for told in reports if "outcome" in told] == expected


def test_a_worker_that_was_told_to_leave_before_it_began_carries_out_one_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(departure, "_announced", True)
    assert set(outcomes(run_unit(job(tmp_path), members(3)))) == {0}


def begun(reports: Sequence[dict[str, Any]]) -> list[int]:
    return [told["index"] for told in reports if "outcome" not in told]


class Refusing(Toy):
    """From its second member on, it finds this worker unfit."""

    members = 0

    def model(self) -> nn.Module:
        self.members += 1
        if self.members > 1:
            raise Unfit("its data differ")
        return super().model()


def test_what_a_worker_trained_before_it_was_found_unfit_is_reported_and_nothing_else(tmp_path: Path) -> None:
    about = job(tmp_path, workload=section(f"{HERE}:Refusing"))
    reports: list[dict[str, Any]] = []
    with pytest.raises(Unfit, match="its data differ"):
        carry_out(WorkUnit(about, members(3)), lambda report: reports.append(dict(report)))
    assert [told["index"] for told in reports if "outcome" in told] == [0]
    assert not any("lost" in told for told in reports)
    assert begun(reports) == [0, 1]


def test_a_checkpoint_that_is_made_again_replaces_what_is_there_under_its_name(
    tmp_path: Path,
) -> None:
    about = job(tmp_path)
    first = run_one(about, assignment()).checkpoint
    assert first
    path = Path(about.checkpoints_url, first.name)
    path.write_bytes(b"damaged")
    again = run_one(about, replace(assignment(), attempt=7, remakes=first))
    assert (again.status, again.checkpoint, again.metrics) == ("done", first, {}), "nothing is evaluated"
    assert CheckpointStore(about.checkpoints_url).damage(first) is None


def test_other_bytes_get_another_name_and_the_damaged_file_stays(tmp_path: Path) -> None:
    about = job(tmp_path)
    first = run_one(about, assignment()).checkpoint
    assert first
    path = Path(about.checkpoints_url, first.name)
    path.write_bytes(b"damaged")
    other = run_one(about, replace(assignment(), training_seed=99, remakes=first)).checkpoint
    assert other
    assert other.name != first.name
    assert other.sha256 != first.sha256
    assert path.read_bytes() == b"damaged"
