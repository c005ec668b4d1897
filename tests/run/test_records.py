"""The records that cross process borders, and the journal's JSON of them."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evodevo.run.checkpoints import CheckpointStore, member_of
from evodevo.run.history import member_id
from evodevo.run.journal import encode, parse
from evodevo.run.records import Assignment, CheckpointRef, Job, Outcome

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
REFS = st.builds(CheckpointRef, st.text(max_size=20), st.integers(0), st.text(max_size=64))
MAPPINGS = st.dictionaries(st.text(max_size=10), NUMBERS, max_size=4)
OUTCOMES = st.builds(
    Outcome,
    st.sampled_from(["done", "diverged", "failed"]),
    fom=st.none() | NUMBERS,
    metrics=MAPPINGS,
    checkpoint=st.none() | REFS,
    seconds=MAPPINGS,
    error=st.none() | st.text(),
)
JOB = Job("run", {"use": "a:B"}, "loss", "/somewhere", None, 1, None)


@settings(deadline=None, derandomize=True)
@given(OUTCOMES)
def test_an_outcome_is_the_same_after_a_way_through_the_journal(outcome: Outcome) -> None:
    records, _ = parse(encode({"n": 0, "outcome": outcome.to_json()}), "here")
    again = Outcome.from_json(records[0]["outcome"])
    assert again == outcome
    assert repr(again) == repr(outcome)  # 0.0 and -0.0, 1 and 1.0 are equal, and not the same


def test_the_json_of_an_outcome_has_every_field_by_its_name() -> None:
    data = Outcome("done", 0.5, {"loss": 0.5}, CheckpointRef("x", 3, "abc"), {"load": 1.0}).to_json()
    assert data == {
        "status": "done",
        "fom": 0.5,
        "metrics": {"loss": 0.5},
        "checkpoint": {"name": "x", "size_bytes": 3, "sha256": "abc"},
        "seconds": {"load": 1.0},
        "error": None,
        "hidden_s": 0.0,
    }


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
    assignment = Assignment(JOB, member_id(generation, slot), attempt, {}, None, 0, 1)
    ref = CheckpointStore(str(tmp_path)).publish(assignment.checkpoint_stem, b"")
    assert member_of(ref.name) == assignment.member
    assert f"-a{attempt}-" in ref.name
