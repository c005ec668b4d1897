"""The records that cross process borders, and the journal's JSON of them."""

import math
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evodevo.run.checkpoints import CheckpointStore, member_of
from evodevo.run.events import member_id
from evodevo.run.journal import encode, parse
from evodevo.run.records import Assignment, CheckpointRef, EpochLosses, Job, Outcome, WorkUnit

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
METRICS = st.dictionaries(st.text(max_size=10), st.floats() | st.integers(), max_size=4)
REFS = st.builds(CheckpointRef, st.text(max_size=20), st.integers(0), st.text(max_size=64))
MAPPINGS = st.dictionaries(st.text(max_size=10), NUMBERS, max_size=4)
LOSSES = st.builds(EpochLosses, st.integers(0), st.lists(st.floats(), max_size=4))
OUTCOMES = st.builds(
    Outcome,
    st.sampled_from(["done", "diverged", "failed"]),
    fom=st.none() | NUMBERS,
    metrics=METRICS,
    checkpoint=st.none() | REFS,
    seconds=MAPPINGS,
    error=st.none() | st.text(),
    hidden_s=st.floats(0, 1e6),
    epochs=st.just(()) | st.lists(METRICS, min_size=1, max_size=3),
    notes=st.lists(st.text(max_size=20), max_size=2).map(tuple),
    losses=st.just(()) | st.lists(LOSSES, min_size=1, max_size=3),
)
JOB = Job("run", {"use": "a:B"}, "loss", "/somewhere", None, 1, None)


@settings(deadline=None, derandomize=True)
@given(OUTCOMES)
def test_an_outcome_is_the_same_after_a_way_through_the_journal(outcome: Outcome) -> None:
    records, _ = parse(encode({"n": 0, "outcome": outcome.to_json()}), "here")
    again = Outcome.from_json(records[0]["outcome"])
    assert repr(again) == repr(
        outcome
    )  # 0.0 and -0.0, 1 and 1.0 are equal, and not the same; NaN is not equal


def test_the_json_of_an_outcome_has_every_field_by_its_name() -> None:
    ref = CheckpointRef("x", 3, "abc")
    epochs = [{"train_loss": 2.0}, {"train_loss": -math.inf}]
    metrics = {"loss": 0.5, "other": math.nan, "third": math.inf}
    outcome = Outcome("failed", 0.5, metrics, ref, {"load": 1.0}, "why", 0.25, epochs, ["a note"], 0.5)
    data = replace(outcome, losses=[EpochLosses(7, [2.0, math.nan])]).to_json()
    assert data == {
        "status": "failed",
        "fom": 0.5,
        "metrics": {"loss": 0.5, "other": "nan", "third": "inf"},
        "checkpoint": {"name": "x", "size_bytes": 3, "sha256": "abc"},
        "seconds": {"load": 1.0},
        "error": "why",
        "hidden_s": 0.25,
        "epochs": [{"train_loss": 2.0}, {"train_loss": "-inf"}],
        "notes": ["a note"],
        "aside_s": 0.5,
        "losses": [{"steps": 7, "means": [2.0, "nan"]}],
    }


def test_the_json_of_an_outcome_says_nothing_of_what_it_has_not() -> None:
    assert Outcome("diverged").to_json() == {"status": "diverged"}
    assert Outcome("done", 0.0).to_json() == {"status": "done", "fom": 0.0}


def test_the_time_that_a_worker_was_busy_is_all_but_the_waiting() -> None:
    outcome = Outcome("done", seconds={"wait": 8.0, "load": 0.5, "train": 2.0, "save": 0.25}, aside_s=4.0)
    assert (outcome.busy_s, outcome.there_s) == (2.75, 6.75)


def test_the_time_limit_of_a_leg_is_that_of_its_epochs() -> None:
    assert replace(JOB, epoch_timeout_s=5.0).leg_timeout_s(3) == 15.0
    assert JOB.leg_timeout_s(3) is None


def test_records_cannot_be_changed() -> None:
    ref = CheckpointRef("x", 3, "abc")
    with pytest.raises(FrozenInstanceError):
        ref.name = "y"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        Outcome("failed").status = "done"  # type: ignore[misc]
    assert {ref, CheckpointRef("x", 3, "abc")} == {ref}


@pytest.mark.parametrize(("generation", "slot", "attempt"), [(0, 0, 1), (7, 99, 12), (12345, 1000, 3)])
def test_an_attempts_checkpoint_says_whose_it_is(
    generation: int, slot: int, attempt: int, tmp_path: Path
) -> None:
    assignment = Assignment(member_id(generation, slot), attempt, {}, None, 0, 1)
    ref = CheckpointStore(str(tmp_path)).publish(assignment.checkpoint_stem, b"")
    assert member_of(ref.name) == assignment.member
    assert f"-a{attempt}-" in ref.name


def test_a_unit_comes_out_of_its_text_as_it_went_in() -> None:
    job = Job("run", {"use": "a:B", "options": {"x": [1]}}, "loss", "/params", None, 2, None, {"a": 0.5}, 3)
    ref = CheckpointRef("m-a1-0123456789ab.safetensors", 16, "ab" * 32)
    first = Assignment("m", 1, {"rate": 0.1, "kind": "sgd"}, None, 0, 7)
    again = Assignment("n", 2, {"rate": 1e-9}, ref, 4, 2**31 - 1, leg=1, remakes=ref)
    unit = WorkUnit(job, [first, again], 12.5)
    assert WorkUnit.from_text(unit.to_text()) == unit
