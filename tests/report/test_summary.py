"""A run in a few numbers."""

import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evodevo.report.account import PARTS
from evodevo.report.gain import gain_of
from evodevo.report.summary import summary_lines, summary_of
from evodevo.run.events import Result, member_id
from evodevo.run.records import Outcome
from tests.run.fakes import SECONDS, FakeCaller, FakeClock, carry_out, config_of, finished, new_run
from tests.run.handmade import Pen, checkpoint

TIMES = st.floats(0, 1000)


@pytest.fixture
def pen() -> Pen:
    return Pen()


def shares(pen: Pen) -> dict[str, int]:
    """What each part took, in per cent, as the summary says it."""
    text = dict(summary_lines(pen.history))["spent on"]
    return {part: int(share) for part, share in re.findall(r"([\w-]+) (\d+) %", text)}


def test_a_run_that_went_to_its_end_is_told_in_full(tmp_path: Path) -> None:
    clock = FakeClock()
    caller = FakeCaller(clock=clock, workers=("tcp://a",))
    history = carry_out(new_run(tmp_path / "run"), caller, clock=clock)
    facts = summary_of(history)
    best = history.best
    assert best is not None
    assert best.outcome is not None
    assert best.fom is not None
    given_fom = history.by_id["g000s000"].fom
    assert given_fom is not None
    assert facts == {
        "name": "small",
        "status": "done",
        "reason": None,
        "metric": "validation_loss",
        "best_fom": best.fom,
        "best_member": best.id,
        "given_fom": given_fom,
        "times_better": None,
        "best_metrics": best.outcome.metrics,
        "test_metrics": history.test,
        "generations": 4,
        "members": 16,
        "diverged": 0,
        "failed": 0,
        "lost_attempts": 0,
        "elapsed_s": 16 * sum(SECONDS.values()),
        "training_s": 16 * sum(SECONDS.values()),
        "workers": 1,
        "seconds": {
            **dict.fromkeys(PARTS, 0.0),
            **{part: 16 * seconds for part, seconds in SECONDS.items()},
        },
        "hidden_save_s": 0.0,
    }
    assert json.loads(json.dumps(facts)) == facts


def test_how_many_members_a_worker_trained_at_once_is_told_if_that_is_more_than_one(tmp_path: Path) -> None:
    for name, at_once, said in (("one", 1, "with 1 at once"), ("many", 3, "with 1 x 3 members at once")):
        config = config_of(cluster__members_per_device=at_once)
        caller = FakeCaller(workers=("tcp://a",))
        history = carry_out(new_run(tmp_path / name, config), caller)
        assert summary_of(history).get("members_per_worker", 1) == at_once
        assert dict(summary_lines(history))["time"].endswith(said)
        assert max(len(unit.assignments) for unit in caller.units) == at_once


def test_the_account_is_of_workers_and_parts_of_some_size_are_said_in_words(pen: Pen) -> None:
    """Two workers for 10 s: one loads the data for 2 s and trains for 8 s, the other for 2 s of 3."""
    pen.births(None, None)
    began = pen.now
    pen.now += 10.0
    first, second = {"prepare": 2.0, "train": 8.0}, {"wait": 7.0, "train": 2.0, "save": 1.0}
    pen.write(Result("g000s000", Outcome("diverged", seconds=first), "tcp://a", began))
    pen.write(Result("g000s001", Outcome("diverged", seconds=second), "tcp://b", began + 7))
    facts = summary_of(pen.history)
    assert (facts["workers"], facts["elapsed_s"], facts["training_s"]) == (2, 10.0, 10.0)
    nothing = dict.fromkeys(PARTS, 0.0)
    assert facts["seconds"] == {**nothing, "start_up": 2.0, "train": 10.0, "save": 1.0, "wait": 7.0}
    assert shares(pen) == {"train": 50, "eval": 0, "load": 0, "save": 5, "wait": 35, "start-up": 10}


def test_what_was_published_behind_something_else_is_said_of_all_legs(pen: Pen) -> None:
    pen.births(None)
    for goes_on in (True, False):
        outcome = Outcome("done", 1.0, {}, checkpoint("g000s000"), {"train": 1.0}, hidden_s=2.5)
        pen.write(Result("g000s000", outcome, "tcp://a", pen.now, goes_on))
    assert summary_of(pen.history)["hidden_save_s"] == 5.0
    assert dict(summary_lines(pen.history))["spent on"].endswith("(and 5.0 s of save during training)")


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.lists(st.tuples(TIMES, TIMES, TIMES), max_size=4), TIMES)
def test_shares_add_up_and_nothing_is_negative(
    spans: list[tuple[float, float, float]], elapsed_s: float
) -> None:
    pen = Pen()
    pen.founders()
    pen.now += elapsed_s
    for slot, (at, train, evaluate) in enumerate(spans):
        pen.done(at=at, seconds={"train": train, "eval": evaluate}, **{member_id(0, slot): 1.0})
    seconds = summary_of(pen.history)["seconds"]
    assert list(seconds) == list(PARTS)
    assert all(value >= 0 for value in seconds.values())
    assert sum(shares(pen).values()) == pytest.approx(100 if sum(seconds.values()) else 0, abs=4)


def test_a_run_without_a_member_has_a_summary(pen: Pen) -> None:
    facts = summary_of(pen.history)
    assert (facts["status"], facts["members"], facts["best_fom"], facts["workers"]) == (
        "unfinished",
        0,
        None,
        0,
    )
    assert set(facts["seconds"].values()) == {0.0}
    lines = dict(summary_lines(pen.history))
    assert lines["generations"] == "0 of 4"
    assert not any(label.startswith("best") for label in lines)


def test_troubles_are_counted_each_by_its_kind(pen: Pen) -> None:
    pen.founders()
    pen.lost("g000s000")
    pen.failed("g000s000", "g000s001")
    pen.diverged("g000s002")
    facts = summary_of(pen.history)
    assert (facts["members"], facts["failed"], facts["diverged"], facts["lost_attempts"]) == (3, 2, 1, 1)
    told = dict(summary_lines(pen.history))["members"]
    assert told.startswith("3, diverged 1, failed 2, attempts lost 1")


def test_members_without_trouble_are_only_counted(pen: Pen) -> None:
    pen.generation(*[None] * 4)
    assert dict(summary_lines(pen.history))["members"] == "4"


def test_the_reason_stands_beside_the_status(pen: Pen) -> None:
    pen.end("failed", "all diverged")
    assert summary_of(pen.history)["reason"] == "all diverged"
    assert dict(summary_lines(pen.history))["status"] == "failed: all diverged"


def test_of_a_traceback_the_last_line_stands_beside_the_status(pen: Pen) -> None:
    reason = "2 of 4 failed; the first, g000s000:\nTraceback (most recent call last):\n  ...\nKeyError: 3\n"
    pen.end("failed", reason)
    assert summary_of(pen.history)["reason"] == reason
    told = dict(summary_lines(pen.history))["status"]
    assert told == "failed: 2 of 4 failed; the first, g000s000: … KeyError: 3"


def test_the_best_its_metrics_and_the_test_figures_follow_the_status(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config_of())
    lines = summary_lines(history)
    best = history.best
    assert best is not None
    assert best.outcome is not None
    gain = gain_of(history)
    assert gain is not None
    assert gain.text().endswith(" (best member, after 4 epochs)")
    assert lines[:5] == [
        ("status", "done"),
        ("best validation_loss", f"{best.fom:.6g} (member {best.id})"),
        ("  from the given values", gain.text()),
        ("  validation_accuracy", f"{best.outcome.metrics['validation_accuracy']:.6g}"),
        ("  test_loss", f"{history.test['test_loss']:.6g} (never selected by)"),
    ]


def test_metrics_that_are_not_finite_and_notes_are_in_the_summary_as_valid_json(pen: Pen) -> None:
    pen.births(None, None)
    for member in ("g000s000", "g000s001"):
        metrics = {"validation_loss": 1.0, "validation_other": math.inf}
        outcome = Outcome("done", 1.0, metrics, checkpoint(member), notes=("validation_other is inf",))
        pen.outcome(member, outcome)
    pen.end(test_loss=math.nan)
    facts = json.loads(json.dumps(summary_of(pen.history), allow_nan=False))
    assert facts["best_metrics"]["validation_other"] == "inf"
    assert facts["test_metrics"] == {"test_loss": "nan"}
    assert facts["notes"] == {"validation_other is inf": 2}
    lines = summary_lines(pen.history)
    assert ("  validation_other", "inf") in lines
    assert ("  test_loss", "nan (never selected by)") in lines
    assert ("notes", "validation_other is inf (2 members)") in lines


def test_of_many_kinds_of_notes_those_of_the_most_members_are_said(pen: Pen) -> None:
    pen.births(None, None)
    pen.outcome("g000s000", Outcome("diverged", notes=("a", "b", "c", "d")))
    pen.outcome("g000s001", Outcome("diverged", notes=("d",)))
    told = dict(summary_lines(pen.history))["notes"]
    assert told == "d (2 members); a (1 member); b (1 member); 1 more in summary.json"


def test_the_time_between_two_controllers_is_not_the_runs(pen: Pen) -> None:
    pen.founders()
    pen.now += 5.0
    pen.done(g000s000=1.0)
    pen.now += 3600.0
    pen.controller()
    assert summary_of(pen.history)["elapsed_s"] == 5.0
