"""The events of a journal as records: each comes back as it was, and those of older versions are read."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run.fakes import config_of

from configs import ABSENT
from evodevo.evolution.strategies import Birth
from evodevo.run import journal
from evodevo.run.codec import FORMAT, decode, encode
from evodevo.run.events import (
    Begun,
    Births,
    Born,
    Ended,
    Event,
    Extended,
    Lost,
    Origin,
    Replaced,
    Result,
    TakenOver,
    member_id,
)
from evodevo.run.history import History
from evodevo.run.journal import JournalError, Record
from evodevo.run.records import CheckpointRef, Outcome
from tests.golden import assert_golden

TEXTS = st.text(max_size=12)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = NUMBERS | st.integers(-9, 9) | TEXTS
GENOMES = st.dictionaries(TEXTS, VALUES | st.lists(VALUES, max_size=3), max_size=3)
METRICS = st.dictionaries(TEXTS, st.floats(allow_nan=False), max_size=3)
SEEDS = st.integers(0, 2**31)


@st.composite
def borns(draw: st.DrawFn) -> Born:
    parents = [draw(st.none() | TEXTS) for _ in range(3)]
    seed = draw(SEEDS)
    place = draw(st.integers(0, 2000)), draw(st.integers(0, 2000))
    return Born(member_id(*place), *place, Birth(draw(GENOMES), *parents, seed), seed)


OUTCOMES = st.builds(
    Outcome,
    st.sampled_from(["done", "diverged", "failed"]),
    st.none() | NUMBERS,
    METRICS,
    st.none() | st.builds(CheckpointRef, TEXTS, st.integers(0), TEXTS),
    st.dictionaries(TEXTS, NUMBERS, max_size=3),
    st.none() | TEXTS,
)
EVENTS = st.one_of(
    st.builds(
        Begun,
        TEXTS,
        st.just(config_of().to_json()),
        st.sampled_from(["generations", "pools", "steady"]),
        st.booleans(),
        st.dictionaries(TEXTS, TEXTS, max_size=3),
        st.none()
        | st.builds(
            Origin,
            *[TEXTS] * 4,
            st.none() | NUMBERS,
            st.integers(0),
            GENOMES,
            st.builds(CheckpointRef, TEXTS, st.integers(0), TEXTS),
        ),
    ),
    st.builds(Extended, st.integers(1)),
    st.builds(Replaced, TEXTS, st.integers(0, 9), st.builds(CheckpointRef, TEXTS, st.integers(0), TEXTS)),
    st.builds(TakenOver, st.dictionaries(st.sampled_from(["host", "pid"]), TEXTS), st.lists(TEXTS)),
    st.builds(TakenOver, st.just({}), st.booleans()),
    st.builds(Births, st.lists(borns(), max_size=4)),
    st.builds(Lost, TEXTS, TEXTS, st.booleans()),
    st.builds(
        Lost,
        TEXTS,
        TEXTS,
        st.booleans(),
        st.booleans(),
        TEXTS,
        st.floats(0, 1e6),
        st.sampled_from(["own", "worker", "disk", "unconfirmed"]),
    ),
    st.builds(Result, TEXTS, OUTCOMES, goes_on=st.booleans()),
    st.builds(Result, TEXTS, OUTCOMES, TEXTS, NUMBERS, st.booleans()),
    st.builds(Ended, st.sampled_from(["done", "failed", "cancelled"]), st.none() | TEXTS, METRICS),
)


def through_the_journal(event: Event) -> Record:
    """The record of an event as a reader gets it."""
    (record,), _ = journal.parse(journal.encode({"n": 0, "time": 1.5, **encode(event)}), "here")
    return record


@settings(deadline=None, derandomize=True, max_examples=200)
@given(EVENTS)
def test_every_event_comes_back_from_the_journal_as_it_was(event: Event) -> None:
    again = decode(through_the_journal(event))
    assert again == event
    assert type(again) is type(event)


def test_a_metric_that_is_nan_comes_back_from_the_journal_as_such() -> None:
    metrics = {"loss": math.nan}
    for event in (Ended("done", None, metrics), Result("m", Outcome("diverged", metrics=metrics))):
        assert repr(decode(through_the_journal(event))) == repr(event)


def test_a_birth_has_the_training_seed_that_counts_whoever_gave_it() -> None:
    birth = Birth({"rate": 0.1}, training_seed=None)
    (born,) = decode(through_the_journal(Births([Born("m", 0, 0, birth, 77)]))).births  # type: ignore[union-attr]
    assert (born.training_seed, born.birth.training_seed) == (77, 77)


def test_the_record_of_a_birth_names_the_parents_that_there_are() -> None:
    birth = Birth({"rate": 0.1}, "a", None, "alpha", 5)
    assert encode(Births([Born("m", 3, 4, birth, 5)])) == {
        "kind": "births",
        "births": [
            {
                "member": "m",
                "generation": 3,
                "slot": 4,
                "genome": {"rate": 0.1},
                "parents": {"a": "a", "params": "alpha"},
                "training_seed": 5,
            }
        ],
    }


def test_what_a_record_has_nothing_to_say_of_is_left_out() -> None:
    assert encode(Lost("m", "why")) == {"kind": "lost", "member": "m", "why": "why"}
    assert encode(Result("m", Outcome("diverged"))) == {
        "kind": "outcome",
        "member": "m",
        "outcome": {"status": "diverged"},
    }


def test_runs_and_controllers_say_their_format() -> None:
    assert encode(Begun("id", {}, "pools", True))["format"] == encode(TakenOver({}))["format"] == FORMAT == 2


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "gossip"},
        {"kind": "run", "format": 3, "id": "x", "pace": "pools", "inherits": True, "config": {}},
        {"kind": "controller", "format": 3, "retry": []},
    ],
    ids=lambda record: record["kind"],
)
def test_what_a_newer_version_wrote_is_refused_and_the_message_says_what_to_do(record: Record) -> None:
    with pytest.raises(JournalError) as raised:
        decode({"n": 7, "time": 1.0, **record})
    said = str(raised.value)
    assert_golden(f"journal/newer/{record['kind']}", said)


def record_1(number: int, **fields: Any) -> Record:
    return {"n": number, "time": 1000.0 + number, **fields}


def births_1(number: int, generation: int, *alphas: str | None) -> Record:
    births = [
        {
            "genome": {"rate": 0.1 + slot, "layers": 1, "optimizer": "adam", "momentum": 0.9},
            "parent_a": alpha,
            "parent_b": None,
            "parent_params": alpha,
            "training_seed": 10 * generation + slot,
        }
        for slot, alpha in enumerate(alphas)
    ]
    return record_1(number, kind="births", generation=generation, births=births)


def outcome_1(number: int, member: str, fom: float | None) -> Record:
    ref = {"name": f"{member}-a1-0123456789ab.safetensors", "size_bytes": 16, "sha256": "0" * 64}
    outcome = {
        "status": "failed" if fom is None else "done",
        "fom": fom,
        "metrics": {},
        "checkpoint": None if fom is None else ref,
        "seconds": {"train": 2.0},
        "error": "Traceback" if fom is None else None,
        "hidden_s": 0.0,
    }
    return record_1(
        number, kind="outcome", member=member, outcome=outcome, worker="tcp://a", started_at=1000.5
    )


def config_1(**changes: Any) -> dict[str, Any]:
    """As a version wrote it that knew neither paces nor legs."""
    config = config_of(**changes).to_json()
    for key in ("pace", "pool", "legs", "epochs_per_generation", "steps_per_generation"):
        del config["search"][key]
    return config


def test_births_of_format_1_have_the_place_of_their_record() -> None:
    births = decode(births_1(2, 3, None, "g002s007"))
    assert births == Births(
        [
            Born(
                "g003s000", 3, 0, Birth(births_1(2, 3, None)["births"][0]["genome"], None, None, None, 30), 30
            ),
            Born(
                "g003s001",
                3,
                1,
                Birth(births_1(2, 3, None, None)["births"][1]["genome"], "g002s007", None, "g002s007", 31),
                31,
            ),
        ]
    )


@pytest.mark.parametrize(
    ("changes", "pace", "inherits"),
    [
        ({}, "generations", True),
        ({"search__strategy": "random_search"}, "generations", True),
        (
            {"search__strategy": "mutate_best", "search__population": ABSENT, "search__options": {}},
            "steady",
            False,
        ),
    ],
    ids=["tri_parent", "random_search", "mutate_best"],
)
def test_a_run_of_format_1_has_the_pace_that_its_strategy_had(
    changes: dict[str, Any], pace: str, inherits: bool
) -> None:
    config = config_1(**changes)
    for more in ({"id": "abc", "format": 1}, {"id": "abc"}):
        assert decode(record_1(0, kind="run", config=config, **more)) == Begun("abc", config, pace, inherits)  # type: ignore[arg-type]
    assert decode(record_1(0, kind="run", config=config)) == Begun("", config, pace, inherits)  # type: ignore[arg-type]


@pytest.mark.parametrize("retry", [True, False])
def test_a_controller_of_format_1_is_read(retry: bool) -> None:
    record = record_1(1, kind="controller", retry=retry, host="n7", pid=42, versions={"torch": "2"})
    assert decode(record) == TakenOver({"host": "n7", "pid": 42, "versions": {"torch": "2"}}, retry)


def test_an_outcome_of_format_1_is_that_of_a_life_of_one_leg() -> None:
    ref = CheckpointRef("g000s000-a1-0123456789ab.safetensors", 16, "0" * 64)
    outcome = Outcome("done", 0.5, {}, ref, {"train": 2.0})
    assert decode(outcome_1(3, "g000s000", 0.5)) == Result("g000s000", outcome, "tcp://a", 1000.5)
    failed = Outcome("failed", seconds={"train": 2.0}, error="Traceback")
    assert decode(outcome_1(3, "g000s000", None)) == Result("g000s000", failed, "tcp://a", 1000.5)


def test_losses_and_ends_of_format_1_are_read() -> None:
    assert decode(record_1(4, kind="lost", member="m", why="why")) == Lost("m", "why")
    end = record_1(5, kind="end", status="done", reason=None, test={"test_loss": 1.0})
    assert decode(end) == Ended("done", None, {"test_loss": 1.0})


def test_a_journal_of_format_1_is_read_as_the_history_that_it_was() -> None:
    history = History.of(
        [
            record_1(0, kind="run", format=1, id="abc", config=config_1(search__population=2)),
            record_1(1, kind="controller", retry=False, host="here"),
            births_1(2, 0, None, None),
            record_1(3, kind="lost", member="g000s001", why="its worker was lost"),
            outcome_1(4, "g000s001", 0.25),
            outcome_1(5, "g000s000", 0.5),
            births_1(6, 1, "g000s001", "g000s001"),
            outcome_1(7, "g001s000", None),
            outcome_1(8, "g001s001", None),
            record_1(9, kind="end", status="failed", reason="too many", test={}),
            record_1(10, kind="controller", retry=True, host="there"),
        ]
    )
    assert (history.run_id, history.completed(), history.begun.pace) == ("abc", 1, "generations")
    assert history.best is history.by_id["g000s001"]
    assert (history.best.fom, history.best.attempts, history.best.epoch) == (0.25, 2, 0)
    assert list(history.pending) == ["g001s000", "g001s001"]
    assert [life.epoch for life in history.generations[1]] == [1, 1]
    assert (history.end, history.controller) == (None, {"host": "there"})
