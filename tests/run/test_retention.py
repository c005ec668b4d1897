"""Which checkpoints live, for each pace."""

import pytest

from evodevo.evolution.strategies import Birth
from evodevo.run.events import Births, Born, Result, member_id
from evodevo.run.pacing import pacing_of
from evodevo.run.records import Outcome
from evodevo.run.retention import needed_checkpoints
from tests.configs import ABSENT
from tests.run.fakes import config_of
from tests.run.handmade import Pen, checkpoint


def names(*members: str) -> set[str]:
    return {checkpoint(member).name for member in members}


def needed(pen: Pen, may_retry: bool = False) -> set[str]:
    """As a controller sees it, whose pacing knows who may have children, and be tried again."""
    history = pen.history
    pacing = pacing_of(pen.config.strategy(), history)
    return needed_checkpoints(history, pacing.may_inherit, pacing.open if may_retry else lambda life: False)


def born(pen: Pen, generation: int, *slots: int, alpha: str) -> None:
    birth = Birth(pen.config.space().given(), alpha, None, alpha)
    pen.write(Births([Born(member_id(generation, slot), generation, slot, birth, 1) for slot in slots]))


@pytest.fixture
def pen() -> Pen:
    return Pen()


def test_of_a_run_that_has_just_begun_nothing_is_needed(pen: Pen) -> None:
    assert needed(pen) == needed_checkpoints(pen.history) == set()
    pen.founders()
    assert needed(pen) == needed_checkpoints(pen.history) == set()


def test_the_checkpoints_of_a_complete_generation_are_needed_until_the_next_is_born(pen: Pen) -> None:
    pen.generation(*[None] * 4)
    assert needed(pen) == names("g000s000", "g000s001", "g000s002", "g000s003")
    assert needed_checkpoints(pen.history) == needed(pen)
    pen.births("g000s001", "g000s001", "g000s000", None)
    assert needed(pen) == names("g000s001", "g000s000", "g000s003")  # 3 is the best
    assert needed_checkpoints(pen.history) == needed(pen)


def test_an_alpha_is_needed_until_its_last_child_is_over(pen: Pen) -> None:
    pen.generation(*[None] * 4)
    pen.births("g000s001", "g000s001", "g000s000", None)
    pen.done(g001s000=5.0, g001s003=7.0)
    own = ["g001s000", "g001s003", "g000s003"]
    assert needed(pen) == names("g000s001", "g000s000", *own)
    pen.lost("g001s001")
    assert needed(pen) == names("g000s001", "g000s000", *own)
    pen.failed("g001s001")
    assert needed(pen) == names("g000s000", *own)
    pen.diverged("g001s002")
    assert needed(pen) == names(*own)


def test_the_best_is_needed_for_ever_and_a_former_best_is_not(pen: Pen) -> None:
    pen.generation(*[None] * 4, foms=(1.0, 2.0, 3.0, 4.0))
    for generation in range(1, 3):
        pen.generation(*[member_id(generation - 1, 3)] * 4, foms=(5.0, 6.0, 7.0, 8.0))
        own = [member_id(generation, slot) for slot in range(4)]
        assert needed(pen) == names("g000s000", *own)
    pen.births(*["g002s003"] * 4)
    pen.done(g003s001=0.5)
    assert needed(pen) == names("g002s003", "g003s001")


def test_a_member_in_the_middle_of_its_life_needs_its_last_leg_and_its_alpha_no_more(pen: Pen) -> None:
    pen.generation(*[None] * 4)
    pen.births(*["g000s001"] * 4)
    pen.done(g001s000=5.0, g001s001=5.0, g001s002=5.0)
    own = ["g000s003", "g001s000", "g001s001", "g001s002"]
    assert needed(pen) == names("g000s001", *own)
    for leg in ("first", "second"):
        outcome = Outcome("done", 3.0, {}, checkpoint(leg))
        pen.write(Result("g001s003", outcome, "tcp://a", 0.0, goes_on=True))
        assert needed(pen) == names(leg, *own)


def test_a_failed_member_that_is_tried_again_needs_its_alpha(pen: Pen) -> None:
    pen.generation(*[None] * 4)
    pen.births(*["g000s001"] * 4)
    pen.failed(*(member_id(1, slot) for slot in range(4)))
    assert needed(pen) == names("g000s003")
    assert needed(pen, may_retry=True) == names("g000s003", "g000s001")
    pen.controller("g001s002")
    assert needed(pen) == names("g000s003", "g000s001")


def test_whose_next_slot_is_born_is_not_needed_any_more_if_slots_keep_to_themselves() -> None:
    pen = Pen(config_of(search__strategy="random_search"))
    pen.founders()
    pen.done(g000s000=4.0, g000s001=3.0, g000s002=2.0)
    assert needed(pen) == names("g000s000", "g000s001", "g000s002")
    born(pen, 1, 0, alpha="g000s000")
    pen.done(g001s000=5.0)
    assert needed(pen) == names("g000s001", "g000s002", "g001s000")
    assert needed_checkpoints(pen.history) == needed(pen) | names("g000s000")


def test_with_pools_whoever_is_in_a_pool_of_an_unborn_child_is_needed() -> None:
    pen = Pen(config_of(search__pace="pools", search__pool=2))
    strategy = pen.config.strategy()
    pools = {slot: set(strategy.needs(1, slot) or ()) for slot in range(4)}
    pen.generation(*[None] * 4, foms=(1.0, 2.0, 3.0, 4.0))
    order = sorted(pools)
    for count, slot in enumerate(order, 1):
        born(pen, 1, slot, alpha=f"g000s00{slot}")
        pen.failed(member_id(1, slot))
        wanted = set().union(*(pools[at] for at in order[count:]))
        assert needed(pen) == names("g000s000", *(f"g000s00{at}" for at in wanted))


def test_with_pools_generations_that_drift_apart_are_all_looked_at() -> None:
    pen = Pen(config_of(search__strategy="random_search", search__generations=9))
    pen.founders()
    pen.done(g000s000=1.0, g000s001=3.0, g000s002=2.0)
    for generation in (1, 2):
        born(pen, generation, 0, alpha=member_id(generation - 1, 0))
        pen.done(**{member_id(generation, 0): 5.0})
    best, newest, waiting = "g000s000", "g002s000", ["g000s001", "g000s002"]
    assert needed(pen) == names(best, newest, *waiting)


def test_in_the_steady_pace_the_last_that_are_done_are_needed_in_whatever_generation() -> None:
    pen = Pen(config_of(search__pace="steady"))
    pen.founders()
    pen.done(g000s002=1.0, g000s000=4.0, g000s001=3.0)
    assert needed(pen) == names("g000s000", "g000s001", "g000s002")
    born(pen, 1, 0, 1, 2, alpha="g000s000")
    pen.done(g001s001=6.0, g000s003=5.0, g001s000=7.0)
    assert needed(pen) == names("g000s001", "g001s001", "g000s003", "g001s000", "g000s002", "g000s000")
    pen.done(g001s002=7.0)  # no member in progress descends from g000s000, and g000s002 is the best
    assert needed(pen) == names("g001s001", "g000s003", "g001s000", "g001s002", "g000s002")


def test_without_inheritance_only_the_best_is_needed() -> None:
    changes = {"search__strategy": "mutate_best", "search__population": ABSENT, "search__options": {}}
    pen = Pen(config_of(**changes))
    for fom in (2.0, 1.0, 3.0):
        pen.births(None)
        pen.done(**{member_id(len(pen.history.births) - 1, 0): fom})
    assert needed(pen) == names("g001s000")
