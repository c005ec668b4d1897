"""When children are born, and that nothing else about them depends on when others are done."""

import json
import random
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evodevo.config import RunConfig
from evodevo.evolution.strategies import Birth, Population, TriParent, find
from evodevo.run import pacing
from evodevo.run.events import Begun, Births, Born, Result, member_id
from evodevo.run.history import History
from evodevo.run.life import Life
from evodevo.run.pacing import DRIFT, Steady, pacing_of
from evodevo.run.records import Outcome
from tests.configs import ABSENT
from tests.run.fakes import config_of

GENERATIONS = [
    {},
    {"search__strategy": "truncation_pbt"},
    {"search__options": {"initial": "spread", "keep": "both"}},
    {"search__pace": "pools", "search__pool": 2},
    {"search__pace": "pools", "search__pool": 3, "search__options": {"initial": "random", "keep": "both"}},
    {"search__pace": "pools", "search__pool": 3, "search__strategy": "truncation_pbt"},
    {"search__pace": "pools", "search__pool": 99},
    {"search__strategy": "random_search"},
    {"search__strategy": "scheduled", "search__options": {"epochs": 6}},
]
POOLS = GENERATIONS[3]
STEADY = [
    {"search__pace": "steady"},
    {"search__pace": "steady", "search__strategy": "truncation_pbt"},
]
MUTATE_BEST = {
    "search__strategy": "mutate_best",
    "search__population": ABSENT,
    "search__generations": 12,
    "search__options": {},
}
Choose = Callable[[list[Life]], Life]


def config(generations: int = 6, population: int = 5, **changes: Any) -> RunConfig:
    sizes = {"search__generations": generations, "search__population": population}
    return config_of(**{**sizes, **changes})


def fom_of(life: Life) -> float | None:
    """What becomes of a member, by its birth alone; one in eight fails."""
    text = json.dumps([dict(life.birth.genome), life.birth.parent_params, life.training_seed], sort_keys=True)
    chance = zlib.crc32(text.encode())
    return None if chance % 8 == 0 else chance / 2**32


def first(pending: list[Life]) -> Life:
    return pending[0]


def drawn(seed: int) -> Choose:
    return random.Random(seed).choice


class Play:
    """A run without workers: births happen when the pacing says so, and lives are over when a test does."""

    def __init__(self, config: RunConfig, fom: Callable[[Life], float | None] = fom_of) -> None:
        self.config = config.complete()
        strategy = find(config.search.strategy)
        self.events: list[Any] = []
        self.history = History()
        pace = self.config.search.pace
        assert pace is not None
        self._note(Begun("", self.config.to_json(), pace, strategy.inherits))
        self.pacing = pacing_of(self.config.strategy(), self.history)
        self._fom = fom

    def _note(self, event: Any) -> None:
        self.events.append(event)
        self.history.take(event, 0.0)

    def again(self, records: int) -> "Play":
        """Return the run as a controller finds it that takes over after `records` records."""
        play = Play(self.config, self._fom)
        for event in self.events[1:records]:
            play._note(event)
        play.pacing = pacing_of(play.config.strategy(), play.history)
        return play

    @property
    def pending(self) -> list[Life]:
        return list(self.history.pending.values())

    @property
    def lives(self) -> dict[str, Life]:
        return self.history.by_id

    def births(self, places: int = 0, begin: bool = True) -> list[str]:
        """Everybody is born who can be now; only the steady pace counts `places`."""
        found: list[str] = []
        while born := self.pacing.births(places - len(found), begin):
            self._note(Births(born))
            for one in born:
                self.pacing.born(self.lives[one.member])
            found += [one.member for one in born]
        return found

    def over(self, member: str) -> None:
        life = self.lives[member]
        fom = self._fom(life)
        self._note(Result(member, Outcome("diverged" if fom is None else "done", fom), "w", 0.0))
        self.pacing.over(life)

    def goes_on(self, choose: Choose = first, places: int = 0) -> "Play":
        """To its end, with the next life to be over chosen among those that are not."""
        self.births(places)
        while self.pending:
            self.over(choose(self.pending).id)
            self.births(places)
        return self

    def generation_over(self, generation: int) -> None:
        for life in self.history.generations[generation]:
            if life.id in self.history.pending:
                self.over(life.id)


def told(play: Play) -> dict[str, tuple[Any, ...]]:
    """All that a birth is, by member."""
    return {life.id: (life.birth, life.training_seed) for life in play.history.lives()}


def pick(seed: int) -> Choose:
    """An order in which some slots are much slower than others."""
    draw = random.Random(seed)
    slow = draw.random()
    return lambda pending: min(pending, key=lambda life: (life.slot > 2) * slow + draw.random())


def test_nobody_of_a_generation_is_born_before_all_of_the_one_before_are_over_and_then_all_are() -> None:
    play = Play(config())
    assert play.births() == [member_id(0, slot) for slot in range(5)]
    for generation in range(5):
        for slot in (3, 0, 4, 1, 2):
            assert play.births() == []
            play.over(member_id(generation, slot))
        assert play.births() == [member_id(generation + 1, slot) for slot in range(5)]
    play.generation_over(5)
    assert (play.births(), play.pacing.waiting()) == ([], 0)


def test_a_child_is_born_exactly_when_its_pool_is_over() -> None:
    play = Play(config(population=7, **POOLS))
    strategy = play.config.strategy()
    play.births()
    done: set[int] = set()
    for slot in (3, 0, 6, 4, 1, 5, 2):
        play.over(member_id(0, slot))
        before, done = done, done | {slot}
        ready = [at for at in range(7) if done >= set(strategy.needs(1, at) or ())]
        new = [at for at in ready if not before >= set(strategy.needs(1, at) or ())]
        assert play.births() == [member_id(1, at) for at in new]
    assert len(play.history.births) == 14


def test_the_parents_of_a_child_are_of_its_pool() -> None:
    play = Play(config(population=7, **POOLS)).goes_on(drawn(3))
    strategy = play.config.strategy()
    for life in play.history.births[7:]:
        pool = {member_id(life.generation - 1, at) for at in strategy.needs(life.generation, life.slot) or ()}
        assert {life.birth.parent_a, life.birth.parent_b, life.birth.parent_params} - {None} <= pool


@pytest.mark.parametrize("changes", GENERATIONS, ids=str)
@settings(deadline=None, derandomize=True, max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_births_are_the_same_whatever_the_order_in_which_lives_are_over(
    changes: dict[str, Any], seed: int
) -> None:
    expected = told(Play(config(**changes)).goes_on())
    assert len(expected) == 30
    assert told(Play(config(**changes)).goes_on(pick(seed))) == expected


@pytest.mark.parametrize("changes", GENERATIONS[3:], ids=str)
def test_nobody_is_born_before_the_whole_generation_three_before_is_over(changes: dict[str, Any]) -> None:
    apart = set()
    for seed in range(10):
        play = Play(config(**changes))
        choose = pick(seed)
        born = play.births()
        while play.pending:
            for member in born:
                generation = play.lives[member].generation
                apart.add(generation - play.history.completed())
                assert generation < DRIFT or play.history.complete(generation - DRIFT)
            play.over(choose(play.pending).id)
            born = play.births()
    assert max(apart) > 0 or changes["search__pool"] == 99
    assert max(apart) < DRIFT


def test_slots_that_keep_to_themselves_do_not_wait_for_each_other_until_they_are_too_far_apart() -> None:
    play = Play(config(generations=9, search__strategy="random_search"))
    play.births()
    for generation in range(DRIFT):
        for slot in range(1, 5):
            play.over(member_id(generation, slot))
            further = [member_id(generation + 1, slot)] if generation + 1 < DRIFT else []
            assert play.births() == further
    assert [life.id for life in play.pending] == ["g000s000"]
    play.over("g000s000")
    assert play.births() == ["g001s000", *(member_id(DRIFT, slot) for slot in range(1, 5))]


@pytest.mark.parametrize("changes", GENERATIONS, ids=str)
def test_a_pacing_that_is_made_again_from_a_history_gives_the_same_births_from_there_on(
    changes: dict[str, Any],
) -> None:
    whole = Play(config(**changes)).goes_on(pick(0))
    for records in range(1, len(whole.events) + 1):
        play = whole.again(records)
        assert told(play.goes_on(pick(records))) == told(whole)


@pytest.mark.parametrize("changes", GENERATIONS, ids=str)
def test_a_pacing_made_again_answers_like_the_one_that_was_there_all_along(changes: dict[str, Any]) -> None:
    play = Play(config(**changes))
    choose = pick(1)
    play.births()
    while play.pending:
        play.over(choose(play.pending).id)
        play.births()
        again = pacing_of(play.config.strategy(), play.history)
        for life in play.history.births:
            newest = len(play.history.generations) - 1
            if life.outcome and life.generation >= newest - DRIFT:
                assert again.may_inherit(life) == play.pacing.may_inherit(life), life.id
                assert again.open(life) == play.pacing.open(life), life.id
        assert again.births(0) == []


@pytest.mark.parametrize("changes", GENERATIONS + STEADY, ids=str)
def test_births_in_small_portions_are_the_same_births(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = Play(config(**changes)).goes_on(places=3)
    monkeypatch.setattr(pacing, "PORTION", 2)
    play = Play(config(**changes)).goes_on(places=3)
    assert told(play) == told(at_once)
    assert max(len(event.births) for event in play.events if isinstance(event, Births)) == 2


def test_without_begin_no_generation_begins() -> None:
    play = Play(config())
    assert play.births(begin=False) == []
    play.births()
    play.generation_over(0)
    assert play.births(begin=False) == []
    assert len(play.births()) == 5


def test_without_begin_a_generation_that_has_begun_is_born_as_a_whole() -> None:
    play = Play(config(search__strategy="random_search"))
    play.births()
    play.over("g000s001")
    assert play.births() == ["g001s001"]
    play.over("g001s001")
    play.over("g000s003")
    assert play.births(begin=False) == ["g001s003"]
    play.generation_over(0)
    assert play.births(begin=False) == ["g001s000", "g001s002", "g001s004"]
    play.generation_over(1)
    assert play.births(begin=False) == []
    assert len(play.births()) == 5


@pytest.mark.parametrize("changes", GENERATIONS[:8], ids=str)
def test_if_all_that_a_child_could_descend_from_failed_it_is_a_founder(changes: dict[str, Any]) -> None:
    play = Play(config(**changes), fom=lambda life: None if life.generation == 1 else 1.0).goes_on()
    orphans = play.history.generations[2]
    assert (
        {life.birth.parent_a for life in orphans} == {life.birth.parent_params for life in orphans} == {None}
    )
    strategy = play.config.strategy()
    assert [life.birth for life in orphans] == [strategy.founder(2, slot) for slot in range(5)]
    assert all(life.birth.parent_params for life in play.history.generations[3])


def test_a_pool_in_which_all_failed_gives_a_founder_and_others_inherit() -> None:
    wanted = config(population=7, **POOLS)
    strategy = wanted.complete().strategy()
    unlucky = set(strategy.needs(1, 0) or ())
    play = Play(wanted, fom=lambda life: None if life.slot in unlucky and not life.generation else 1.0)
    play.goes_on(drawn(1))
    for life in play.history.generations[1]:
        pool = set(strategy.needs(1, life.slot) or ())
        assert (life.birth.parent_params is None) == (pool <= unlucky)


def test_a_member_is_open_until_a_child_is_born_that_could_be_its_own() -> None:
    play = Play(config(population=7, **POOLS))
    strategy = play.config.strategy()
    play.births()
    for slot in range(7):
        play.over(member_id(0, slot))
        play.births()
        named = {at for life in play.history.births[7:] for at in strategy.needs(1, life.slot) or ()}
        all_born = len(play.history.births) == 14
        for life in play.history.generations[0]:
            assert play.pacing.open(life) == (life.slot not in named and not all_born)


def test_in_generations_everybody_is_open_until_the_next_one_is_born() -> None:
    play = Play(config())
    play.births()
    play.generation_over(0)
    assert all(map(play.pacing.open, play.history.births))
    play.births()
    assert [play.pacing.open(life) for life in play.history.births] == [False] * 5 + [True] * 5


def test_who_may_still_have_heirs_is_whoever_somebody_unborn_can_descend_from() -> None:
    play = Play(config(population=7, **POOLS))
    strategy = play.config.strategy()
    play.births()
    for slot in (3, 0, 6, 4, 1, 5, 2):
        play.over(member_id(0, slot))
        play.births()
        born = {life.slot for life in play.history.births[7:]}
        wanted = {at for child in set(range(7)) - born for at in strategy.needs(1, child) or ()}
        for life in play.history.generations[0]:
            assert play.pacing.may_inherit(life) == (life.slot in wanted)


def test_in_generations_all_may_have_heirs_until_the_next_one_is_born() -> None:
    play = Play(config())
    play.births()
    play.generation_over(0)
    assert all(map(play.pacing.may_inherit, play.history.births))
    play.births()
    assert [play.pacing.may_inherit(life) for life in play.history.births] == [False] * 5 + [True] * 5


@pytest.mark.parametrize(
    ("changes", "most"), [({}, 2), ({"search__strategy": "random_search"}, 3), (POOLS, 5)]
)
def test_the_generations_that_are_kept_are_enough_for_all_who_are_needed(
    changes: dict[str, Any], most: int
) -> None:
    assert Play(config(**changes)).pacing.generations_kept == most
    for seed in range(5):
        play = Play(config(**changes))
        choose = pick(seed)
        play.births()
        while play.pending:
            parents = {life.birth.parent_params for life in play.pending}
            heirs = {life.id for life in play.history.over if play.pacing.may_inherit(life)}
            recent = {life.id for life in play.history.births[-5 * (DRIFT + 2) :]}
            assert len((parents | heirs) & recent) <= most * 5
            play.over(choose(play.pending).id)
            play.births()


def numbers(play: Play) -> list[int]:
    """The births in their order, by number."""
    return [life.generation * 5 + life.slot for life in play.history.births]


@pytest.mark.parametrize("changes", STEADY, ids=str)
@pytest.mark.parametrize("workers", [1, 2, 5, 9])
def test_steady_births_are_as_many_as_the_run_has_and_never_more_than_have_a_place(
    workers: int, changes: dict[str, Any]
) -> None:
    play = Play(config(**changes))
    choose = drawn(workers)
    while play.pending or play.pacing.waiting():
        places = workers - len(play.pending)
        born = play.births(places)
        assert len(born) <= places
        assert len(play.pending) <= min(workers, 5)
        play.over(choose(play.pending).id)
    assert numbers(play) == list(range(30))
    assert len(play.history.over) == 30


def test_without_a_place_nobody_is_born_in_the_steady_pace() -> None:
    play = Play(config(**STEADY[0]))
    assert (play.births(0), play.births(-1), play.births(5, begin=False)) == ([], [], [])
    assert play.pacing.waiting() == 5
    assert len(play.births(3)) == 3
    assert play.pacing.waiting() == 2
    play.over("g000s001")
    assert play.pacing.waiting() == 3


class Watched(TriParent):
    """Records whose place each child takes, and its possible parents."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.places: list[tuple[str, list[str]]] = []

    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        members = [member.id for member in parents.members]
        self.places.append((members[own], members))
        return super().birth(generation, slot, parents, own)


def test_a_steady_child_takes_the_place_of_whoever_has_been_done_for_longest_without_a_successor() -> None:
    play = Play(config(**STEADY[0], population=4))
    strategy = play.config.strategy()
    watched = Watched(strategy.space, 4, strategy.mode, strategy.seed, strategy.options)
    play.pacing = Steady(watched, 6)
    play.births(4)
    for member in ("g000s002", "g000s000", "g000s003"):
        play.over(member)
    assert play.births(2) == ["g001s000", "g001s001"]
    last = ["g000s002", "g000s000", "g000s003"]
    assert watched.places == [("g000s002", last), ("g000s000", last)]
    play.over("g001s001")
    play.over("g000s001")
    assert play.births(9) == ["g001s002", "g001s003", "g002s000"]
    last = ["g000s000", "g000s003", "g001s001", "g000s001"]
    assert watched.places[2:] == [("g000s003", last), ("g001s001", last), ("g000s001", last)]


def steady(config: RunConfig, workers: int, choose: Choose) -> Play:
    """Play a whole run with `workers` workers."""
    play = Play(config)
    while play.pending or play.pacing.waiting():
        play.births(workers - len(play.pending))
        play.over(choose(play.pending).id)
    return play


@pytest.mark.parametrize("changes", STEADY, ids=str)
@pytest.mark.parametrize("workers", [1, 3, 5])
def test_steady_parents_are_among_the_last_that_are_done(workers: int, changes: dict[str, Any]) -> None:
    play = steady(config(**changes), workers, drawn(2))
    done: list[str] = []
    heirs = 0
    for event in play.events:
        match event:
            case Result():
                done.append(event.member)
            case Births():
                for born in event.births:
                    birth = born.birth
                    parents = {birth.parent_a, birth.parent_b, birth.parent_params} - {None}
                    assert parents <= set(done[-5:])
                    heirs += bool(parents)
    assert heirs >= 20


@pytest.mark.parametrize("changes", [*STEADY, MUTATE_BEST], ids=str)
@pytest.mark.parametrize("workers", [1, 3])
def test_a_steady_history_that_is_read_again_gives_exactly_the_births_that_it_had(
    workers: int, changes: dict[str, Any]
) -> None:
    play = steady(config(**changes), workers, drawn(5))
    births = 0
    for records, event in enumerate(play.events):
        if isinstance(event, Births):
            again = play.again(records)
            assert again.pacing.births(len(event.births)) == list(event.births)
            births += len(event.births)
    assert births == len(play.history.births) > 0


def test_steady_births_depend_on_who_is_done() -> None:
    one, other = (steady(config(**STEADY[0]), 3, drawn(seed)) for seed in (1, 2))
    assert told(one) != told(other)


def test_if_the_last_that_are_done_all_failed_a_steady_child_is_a_founder() -> None:
    play = Play(config(**STEADY[0]), fom=lambda life: None if life.generation == 0 else 1.0)
    play.births(5)
    play.over("g000s003")
    assert play.births(1) == ["g001s000"]
    life = play.lives["g001s000"]
    assert (life.birth.parent_a, life.birth.parent_params) == (None, None)
    play.over("g001s000")
    play.births(1)
    assert play.lives["g001s001"].birth.parent_params == "g001s000"


def test_members_that_inherit_nothing_are_born_whenever_there_is_a_worker() -> None:
    play = Play(config(**MUTATE_BEST))
    assert play.pacing.waiting() == 12
    assert len(play.births(7)) == 7
    assert play.pacing.waiting() == 5
    assert play.lives["g006s000"].birth.parent_a is None
    play.over("g003s000")
    play.births(1)
    assert play.lives["g007s000"].birth.parent_a == "g003s000"
    assert len(play.births(99)) == 4
    assert play.pacing.waiting() == 0


@pytest.mark.parametrize("changes", [*STEADY, MUTATE_BEST], ids=str)
def test_in_the_steady_pace_all_may_have_heirs_and_open_are_the_last_ones_and_those_without_an_alpha(
    changes: dict[str, Any],
) -> None:
    play = steady(config(**changes), 2, first)
    pacing, history = play.pacing, play.history
    assert all(pacing.may_inherit(life) for life in history.births)
    last = history.over[-history.config.search.population :]
    expected = [life for life in history.over if life in last or life.birth.parent_params is None]
    assert [life for life in history.over if pacing.open(life)] == expected


def test_a_strategy_that_names_a_training_seed_has_it_and_others_have_that_of_their_place() -> None:
    play = Play(config(**MUTATE_BEST))
    play.births(3)
    assert len({life.training_seed for life in play.history.births}) == 1
    others: list[Born] = Play(config()).pacing.births(0)
    assert len({born.training_seed for born in others}) == 5
