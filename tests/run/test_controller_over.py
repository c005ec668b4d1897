"""Lives that a worker says are over: it has reached the target, or the life's time is up."""

import random
from dataclasses import replace
from pathlib import Path

from evodevo.config import RunConfig
from evodevo.report.tables import history_rows
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.records import Assignment, Job, Outcome
from tests.run.fakes import FakeCaller, carry_out, config_of, finished, history_of, new_run
from tests.run.test_controller_legs import at_times, full_story, legs_of
from tests.run.test_controller_resumed import resumed_everywhere

LEGS = 4
GOOD = 2.5


class Reaching(FakeCaller):
    """Lives are over as soon as they are good; each leg has ten steps."""

    def _leg(self, job: Job, assignment: Assignment, fate: str) -> tuple[Outcome | None, str]:  # type: ignore[override]
        outcome, why = super()._leg(job, assignment, fate)  # type: ignore[arg-type]
        if outcome is None or outcome.fom is None or assignment.remakes:
            return outcome, why
        steps = assignment.progress.get("steps", 0) + 10
        return replace(outcome, progress={"steps": steps}, over=outcome.fom < GOOD), why


def config() -> RunConfig:
    return config_of(search__legs=LEGS, search__generations=3)


def test_a_life_that_is_over_has_no_further_leg_and_the_fom_of_that_one(tmp_path: Path) -> None:
    caller = Reaching(shuffle=random.Random(2))
    history = finished(tmp_path / "run", config(), caller)
    lengths = set()
    for life in history.lives():
        outcomes = list(life.outcomes())
        assert [outcome.over for outcome in outcomes[:-1]] == [False] * (len(outcomes) - 1)
        assert outcomes[-1].over or len(outcomes) == LEGS
        assert life.fom == outcomes[-1].fom
        lengths.add(len(outcomes))
    assert len(lengths) > 1
    assert {row["legs"] for row in history_rows(history)} == lengths


def test_each_leg_is_told_how_far_the_one_before_came(tmp_path: Path) -> None:
    caller = Reaching()
    history = finished(tmp_path / "run", config(), caller)
    for member, assignments in legs_of(caller).items():
        told = [assignment.progress.get("steps") for assignment in assignments]
        assert told == [None, *(10 * at for at in range(1, len(assignments)))]
        assert {assignment.until_step for assignment in assignments} == {None}
        done = list(history.by_id[member].outcomes())
        assert [outcome.progress["steps"] for outcome in done] == [10 * at for at in range(1, len(done) + 1)]


def test_the_history_is_the_same_if_legs_are_lost(tmp_path: Path) -> None:
    expected = full_story(finished(tmp_path / "undisturbed", config(), Reaching()))
    lost = at_times(("g000s000", 1), ("g001s001", 1), ("g001s001", 2), ("g002s003", 1), fate="worker")
    caller = Reaching(lost._fate, shuffle=random.Random(5))
    history = finished(tmp_path / "run", config(), caller)
    assert (history.lost_attempts, full_story(history)) == (4, expected)


def test_the_history_is_the_same_if_the_controller_is_killed_at_any_record(tmp_path: Path) -> None:
    expected = full_story(finished(tmp_path / "run", config(), Reaching()))
    killed = 0
    for run, _, _ in resumed_everywhere(tmp_path, config(), Reaching):
        assert full_story(history_of(run)) == expected
        killed += 1
    assert killed > 30


def test_a_leg_that_ended_early_is_made_again_to_its_last_step(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", config())
    damaged: list[str] = []

    def damage(assignment: Assignment) -> None:
        """The checkpoint of a life that was over early is damaged when a child begins."""
        parent = assignment.parent
        if assignment.leg or not parent or damaged or assignment.remakes:
            return
        history = history_of(run)
        alpha = history.by_id[history.by_id[assignment.member].birth.parent_params or ""]
        if alpha.outcome and alpha.outcome.over:
            damaged.append(alpha.id)
            (Path(CheckpointStore(str(run / "params")).url) / parent.name).write_bytes(b"")

    caller = Reaching(watch=damage)
    carry_out(run, caller)
    again = [assignment for assignment in caller.assignments if assignment.remakes]
    assert damaged and again
    history = history_of(run)
    for assignment in again:
        done = list(history.by_id[assignment.member].outcomes())[assignment.leg]
        assert assignment.until_step == (done.progress["steps"] if done.over else None)
    assert any(assignment.until_step for assignment in again)
