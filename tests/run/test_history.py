"""What the records of a journal add up to."""

import itertools
from typing import Any

import pytest

from evodevo.evolution.strategies import Birth, Member
from evodevo.run.events import Births, Born, Lost, Replaced, Result, TakenOver, member_id
from evodevo.run.history import History
from evodevo.run.losses import Loss
from evodevo.run.records import Outcome
from tests.run.fakes import config_of
from tests.run.handmade import Pen, checkpoint


def best_of(pen: Pen) -> str | None:
    return pen.history.best.id if pen.history.best else None


@pytest.fixture
def pen() -> Pen:
    return Pen()


@pytest.fixture
def family(pen: Pen) -> Pen:
    """Three generations; the α-lines cross over slots, and one member of the last is a new founder."""
    pen.generation(None, None, None, None)
    pen.generation("g000s003", "g000s003", "g000s001", "g000s000")
    pen.births("g001s001", None, "g001s003", "g001s001", parent_a="g000s002")
    return pen


def test_nothing_is_known_of_a_run_before_its_first_birth(pen: Pen) -> None:
    history = pen.history
    assert (history.generations, history.best, history.end, history.test) == ([], None, None, {})
    assert (history.completed(), history.complete(0), list(history.lives())) == (0, False, [])
    assert (history.births, history.over, history.pending, history.leg_s()) == ([], [], {}, None)
    assert history.config == config_of()


def test_births_are_read_as_they_were_written(family: Pen) -> None:
    life = family.history.by_id["g002s003"]
    assert (life.generation, life.slot, life.training_seed, life.status) == (2, 3, 203, "pending")
    assert (life.birth.parent_a, life.birth.parent_b) == ("g000s002", None)
    assert life.birth.genome == {**family.config.space().given(), "layers": 3, "rate": 0.04}
    assert list(family.history.by_id) == [member_id(g, s) for g in range(3) for s in range(4)]
    assert [life.id for life in family.history.lives()] == list(family.history.by_id)


def test_the_line_of_a_member_follows_its_alphas_from_the_founder_on(family: Pen) -> None:
    history = family.history
    lines = {life.id: [one.id for one in history.line(life)] for life in history.generations[2]}
    assert lines == {
        "g002s000": ["g000s003", "g001s001", "g002s000"],
        "g002s001": ["g002s001"],
        "g002s002": ["g000s000", "g001s003", "g002s002"],
        "g002s003": ["g000s003", "g001s001", "g002s003"],
    }
    assert history.line(history.by_id["g000s002"]) == [history.by_id["g000s002"]]


def test_epochs_count_from_zero_along_every_line_and_a_founder_begins_anew(family: Pen) -> None:
    history = family.history
    for life in history.lives():
        assert [one.epoch for one in history.line(life)] == list(range(len(history.line(life))))
    assert [life.epoch for life in history.generations[2]] == [2, 0, 2, 2]


def test_a_member_starts_from_the_checkpoint_of_its_alpha(family: Pen) -> None:
    history = family.history
    refs = [history.parent_checkpoint(life) for life in history.generations[2]]
    assert refs == [checkpoint("g001s001"), None, checkpoint("g001s003"), checkpoint("g001s001")]


@pytest.mark.parametrize(("mode", "best"), [("min", "g000s002"), ("max", "g001s000")])
def test_the_best_is_of_the_whole_run_and_in_the_sense_of_the_mode(mode: str, best: str) -> None:
    pen = Pen(config_of(objective__mode=mode))
    pen.generation(*[None] * 4, foms=(0.5, 0.0, -2.0, 1.0))
    pen.generation(*["g000s000"] * 4, foms=(3.0, 2.0, -1.0, 0.1))
    assert best_of(pen) == best


@pytest.mark.parametrize("mode", ["min", "max"])
def test_of_equal_foms_the_first_born_is_best_in_whatever_order_they_come(mode: str) -> None:
    members = ("g000s001", "g000s002", "g000s003")
    for order in itertools.permutations(members):
        pen = Pen(config_of(objective__mode=mode))
        pen.founders()
        pen.done(g000s000=9.0 if mode == "min" else -9.0)
        pen.done(**dict.fromkeys(order, 1.0))
        assert best_of(pen) == "g000s001"
        pen.generation(*["g000s001"] * 4, foms=(1.0,) * 4)
        assert best_of(pen) == "g000s001"


def test_what_diverged_or_failed_is_never_the_best(pen: Pen) -> None:
    pen.founders()
    pen.diverged("g000s000")
    pen.failed("g000s001")
    assert best_of(pen) is None
    pen.done(g000s003=1e300)
    assert best_of(pen) == "g000s003"


def test_a_member_is_told_to_the_strategy_with_what_it_needs_and_no_more(family: Pen) -> None:
    life = family.history.by_id["g001s002"]
    assert life.as_member() == Member("g001s002", 1, 2, life.birth, 2.0)


def test_a_generation_is_complete_with_its_last_outcome_whatever_that_is(pen: Pen) -> None:
    pen.founders()
    pen.done(g000s000=1.0, g000s003=2.0)
    pen.diverged("g000s001")
    assert (pen.history.complete(0), pen.history.completed()) == (False, 0)
    pen.failed("g000s002")
    assert (pen.history.complete(0), pen.history.complete(1), pen.history.completed()) == (True, False, 1)
    pen.births(*["g000s000"] * 4)
    assert (pen.history.complete(1), pen.history.completed()) == (False, 1)


def test_time_counts_while_a_controller_is_at_work_and_not_between_two(pen: Pen) -> None:
    def after(seconds: float, write: Any, *arguments: Any) -> float:
        pen.now += seconds
        write(*arguments)
        return pen.history.elapsed_s

    assert pen.history.elapsed_s == 0
    assert after(2.0, pen.founders) == 2.0
    assert after(5.0, pen.failed, "g000s000") == 7.0
    assert after(3600.0, pen.controller) == 7.0
    assert after(1.5, pen.lost, "g000s001") == 8.5
    assert after(-60.0, pen.diverged, "g000s001") == 8.5  # the clock was set back
    assert after(1.0, pen.end) == 9.5
    assert after(3600.0, pen.controller) == 9.5


def test_a_lost_attempt_counts_and_leaves_its_member_pending(pen: Pen) -> None:
    pen.founders()
    pen.lost("g000s001", "first")
    pen.lost("g000s001", "second")
    life = pen.history.by_id["g000s001"]
    assert (life.lost, life.attempts, life.status) == (("first", "second"), 2, "pending")
    pen.done(at=1234.5, g000s001=1.0)
    life = pen.history.by_id["g000s001"]
    assert (life.attempts, life.status, life.started_at, life.worker) == (3, "done", 1234.5, "tcp://a")


def troubled(pen: Pen) -> Pen:
    pen.founders()
    pen.failed("g000s000", "g000s001")
    pen.done(g000s002=2.0, g000s003=3.0)
    pen.births(None, None, None, None)
    pen.lost("g001s000")
    pen.failed("g001s000", "g001s001")
    pen.diverged("g001s002")
    pen.done(g001s003=1.0)
    pen.end("failed", "too many")
    return pen


def statuses(history: History) -> list[list[str]]:
    return [[life.status for life in lives] for lives in history.generations]


def test_a_retry_makes_the_members_that_it_names_pending_and_nobody_else(pen: Pen) -> None:
    troubled(pen).controller("g001s000", "g001s001")
    history = pen.history
    done = ["done", "done"]
    assert statuses(history) == [["failed", "failed", *done], ["pending", "pending", "diverged", "done"]]
    life = history.by_id["g001s000"]
    assert (life.lost, life.attempts, life.outcome, life.worker, life.started_at) == ((), 0, None, None, None)
    assert (history.end, history.reason, history.completed()) == (None, None, 1)
    assert (list(history.pending), history.unsuccessful) == (["g001s000", "g001s001"], 3)
    assert life not in history.over
    pen.done(g001s000=0.5)
    assert (best_of(pen), pen.history.by_id["g001s000"].attempts) == ("g001s000", 1)
    pen.failed("g001s001")
    assert (pen.history.completed(), pen.history.unsuccessful, pen.history.pending) == (2, 4, {})


def test_a_retry_of_format_1_is_of_the_failed_members_of_the_last_generation(pen: Pen) -> None:
    troubled(pen).write(TakenOver({}, True))
    assert list(pen.history.pending) == ["g001s000", "g001s001"]
    assert pen.history.by_id["g000s000"].status == "failed"


def test_a_new_controller_without_a_retry_ends_the_end_and_changes_nobody(pen: Pen) -> None:
    before = statuses(troubled(pen).history)
    assert (pen.history.end, pen.history.reason) == ("failed", "too many")
    pen.controller()
    assert (pen.history.end, pen.history.reason, statuses(pen.history)) == (None, None, before)
    assert pen.history.by_id["g001s000"].attempts == 2


def test_the_end_holds_its_reason_and_the_test_metrics(pen: Pen) -> None:
    pen.end("done", "limits.wall_time_s = 5 is used up", test_loss=0.5)
    history = pen.history
    assert (history.end, history.reason) == ("done", "limits.wall_time_s = 5 is used up")
    assert history.test == {"test_loss": 0.5}


def leg(pen: Pen, member: str, fom: float, goes_on: bool = True) -> None:
    """Write the outcome of a leg of a life that may have several."""
    outcome = Outcome("done", fom, {}, checkpoint(f"{member}.{fom}"), {"train": fom})
    pen.write(Result(member, outcome, "tcp://a", pen.now, goes_on))


def test_a_leg_that_is_not_the_last_leaves_its_member_pending_and_without_a_fom(pen: Pen) -> None:
    pen.founders()
    leg(pen, "g000s000", 0.1)
    leg(pen, "g000s000", 0.2)
    life = pen.history.by_id["g000s000"]
    assert (life.status, life.fom, best_of(pen), pen.history.over) == ("pending", None, None, [])
    assert [one.fom for one in life.outcomes()] == [0.1, 0.2]
    leg(pen, "g000s000", 0.3, goes_on=False)
    history = pen.history
    life = history.by_id["g000s000"]
    assert (life.status, life.fom, best_of(pen), history.over) == ("done", 0.3, "g000s000", [life])
    assert [one.fom for one in life.outcomes()] == [0.1, 0.2, 0.3]
    assert life.seconds_of("train") == pytest.approx(0.6)


def test_a_checkpoint_is_replaced_in_each_outcome_that_has_it(pen: Pen) -> None:
    """The last leg of a life may keep the parameters of an earlier one, and twins take its outcome."""
    pen.founders()
    leg(pen, "g000s000", 0.1)
    leg(pen, "g000s000", 0.2)
    kept = Outcome("done", 0.1, {}, checkpoint("g000s000.0.1"))
    pen.outcome("g000s000", kept)
    pen.write(Result("g000s001", kept, same_as="g000s000"))
    pen.done(g000s002=0.3)
    pen.write(Replaced("g000s000", 0, checkpoint("other")))
    by_id = pen.history.by_id
    found = [[one.checkpoint for one in by_id[f"g000s00{slot}"].outcomes()] for slot in range(3)]
    other = checkpoint("other")
    assert found == [[other, checkpoint("g000s000.0.2"), other], [other], [checkpoint("g000s002")]]


def test_attempts_are_counted_through_all_legs_and_charged_to_one(pen: Pen) -> None:
    pen.founders()
    pen.lost("g000s000")
    leg(pen, "g000s000", 1.0)
    life = pen.history.by_id["g000s000"]
    assert (life.attempts, life.charged) == (2, 0)
    pen.lost("g000s000")
    pen.lost("g000s000")
    pen.write(Lost("g000s000", "it had to go", preempted=True))
    life = pen.history.by_id["g000s000"]
    assert (life.attempts, life.charged, life.preempted, len(life.lost)) == (5, 2, 1, 4)
    leg(pen, "g000s000", 1.0, goes_on=False)
    assert (pen.history.by_id["g000s000"].attempts, pen.history.lost_attempts) == (6, 4)


def test_epochs_count_through_the_legs_of_a_life_and_on_to_its_children() -> None:
    pen = Pen(config_of(search__epochs_per_generation=5, search__legs=3))
    pen.founders()
    life = pen.history.by_id["g000s000"]
    assert pen.history.epochs_trained(life) == life.epoch == 0
    leg(pen, "g000s000", 1.0)
    assert pen.history.epochs_trained(pen.history.by_id["g000s000"]) == 5
    leg(pen, "g000s000", 2.0, goes_on=False)
    pen.births(*["g000s000"] * 4)
    assert [life.epoch for life in pen.history.generations[1]] == [10] * 4


def test_a_retry_begins_with_the_first_leg(pen: Pen) -> None:
    pen.founders()
    leg(pen, "g000s000", 1.0)
    pen.failed("g000s000")
    pen.controller("g000s000")
    life = pen.history.by_id["g000s000"]
    assert (life.legs, life.attempts, pen.history.epochs_trained(life)) == ((), 0, 0)


def born(pen: Pen, *places: tuple[int, int]) -> None:
    given = pen.config.space().given()
    pen.write(Births([Born(member_id(*place), *place, Birth(given), 0) for place in places]))


def test_members_of_a_generation_are_in_the_order_of_their_slots_whenever_they_are_born(pen: Pen) -> None:
    born(pen, (0, 0), (0, 1), (0, 2), (0, 3))
    born(pen, (1, 2))
    born(pen, (1, 3), (2, 2), (1, 0))
    born(pen, (1, 1))
    history = pen.history
    assert [[life.slot for life in lives] for lives in history.generations] == [[0, 1, 2, 3]] * 2 + [[2]]
    late = ["g001s002", "g001s003", "g002s002", "g001s000", "g001s001"]
    assert [life.id for life in history.births[4:]] == list(history.pending)[4:] == late


def test_a_generation_that_is_born_in_part_is_not_complete_though_all_of_it_are_done(pen: Pen) -> None:
    born(pen, (0, 0), (0, 1), (0, 2))
    pen.done(g000s000=1.0, g000s001=1.0, g000s002=1.0)
    assert (pen.history.complete(0), pen.history.completed()) == (False, 0)
    born(pen, (0, 3))
    assert (pen.history.complete(0), pen.history.completed()) == (False, 0)
    pen.done(g000s003=1.0)
    assert (pen.history.complete(0), pen.history.completed()) == (True, 1)


def test_those_whose_lives_are_over_are_in_the_order_of_the_journal(pen: Pen) -> None:
    pen.founders()
    pen.done(g000s002=1.0)
    pen.failed("g000s000")
    pen.diverged("g000s003")
    assert [life.id for life in pen.history.over] == ["g000s002", "g000s000", "g000s003"]
    assert list(pen.history.pending) == ["g000s001"]


def test_the_seconds_of_a_leg_are_those_that_it_keeps_a_worker_busy(pen: Pen) -> None:
    pen.founders()
    pen.done(seconds={"wait": 50.0, "prepare": 30.0, "load": 1.0, "train": 3.0}, g000s000=1.0)
    assert (pen.history.leg_s(), pen.history.longest_leg_s()) == (4.0, 4.0)
    pen.done(seconds={"train": 8.0}, g000s001=1.0)
    pen.outcome("g000s002", Outcome("failed", error="no attempt came to an end"))
    assert (pen.history.leg_s(), pen.history.longest_leg_s()) == (6.0, 8.0)


def test_training_lasts_from_the_first_birth_to_the_last_result_without_the_time_between_controllers(
    pen: Pen,
) -> None:
    pen.now += 1.0
    pen.founders()
    pen.now += 5.0
    pen.done(g000s000=1.0)
    pen.now += 3600.0
    pen.controller()
    pen.now += 2.0
    pen.lost("g000s001")
    pen.now += 4.0
    pen.end()
    assert pen.history.training_s == 7.0


def test_what_was_lost_on_a_worker_is_kept_with_its_time_and_seconds(pen: Pen) -> None:
    pen.founders()
    pen.now = 1234.0
    pen.write(Lost("g000s001", "why", worker="tcp://a", seconds=2.5))
    pen.lost("g000s001")
    assert pen.history.losses == {(0, "tcp://a"): Loss(1231.5, 1234.0, 2.5)}


def test_what_infrastructure_and_doubtful_workers_lose_is_not_charged(pen: Pen) -> None:
    pen.founders()
    for blame in ("worker", "worker", "unconfirmed", "own", "disk"):
        pen.write(Lost("g000s000", "why", worker="tcp://a", blame=blame))  # type: ignore[arg-type]
    life = pen.history.by_id["g000s000"]
    assert (len(life.lost), life.charged, life.unlucky, life.lost_workers) == (5, 1, 1, 0)
    assert (life.raised_on, life.suspect, pen.history.trouble) == ("tcp://a", True, None)
    pen.done(g000s000=1.0)
    life = pen.history.by_id["g000s000"]
    assert (life.charged, life.unlucky, life.raised_on) == (0, 0, None)


def test_a_member_that_keeps_being_unlucky_is_the_trouble_of_the_run_until_a_result_comes(pen: Pen) -> None:
    pen.founders()
    for number in range(4):
        assert (pen.history.trouble is None) == (number < 3)
        pen.write(Lost("g000s000", "no space left", blame="disk"))
    assert pen.history.trouble == "no space left (g000s000 has lost 4 attempts in a row)"
    pen.done(g000s001=1.0)
    assert pen.history.trouble is None


def test_losses_that_were_shared_count_for_nobody_and_make_all_suspect_until_a_leg_is_done() -> None:
    pen = Pen()
    pen.founders()
    for shared in (True, True, False):
        pen.write(Lost("g000s000", "its worker was lost", shared=shared))
    pen.write(Lost("g000s001", "it had to go", preempted=True))
    first, second = pen.history.generations[0][:2]
    assert (len(first.lost), first.charged, first.suspect) == (3, 1, True)
    assert (len(second.lost), second.charged, second.suspect) == (1, 0, False)
    pen.write(Result("g000s000", Outcome("done", 1.0), "tcp://a", 0.0, goes_on=True))
    first = pen.history.by_id["g000s000"]
    assert (len(first.lost), first.charged, first.suspect) == (3, 0, False)
