"""scripts/bench/faults.py: what it counts and compares, and a few of its trials."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[1] / "scripts" / "bench"


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    monkeypatch.syspath_prepend(str(BENCH))
    return lambda module: __import__(f"harness.{module}", fromlist=[module])


def births(time: float, *members: str) -> dict[str, Any]:
    return {"kind": "births", "time": time, "births": [{"member": member} for member in members]}


def outcome(time: float, member: str, **more: Any) -> dict[str, Any]:
    return {"kind": "outcome", "time": time, "member": member, **more}


@pytest.mark.parametrize(
    "at, seconds",
    [
        (1.5, 2.5),  # a and b were in progress, b longer
        (2.5, 1.5),  # only b
        (4.2, 2.0),  # no member: the next outcome
        (6.5, 0.5),  # no member, and the run has ended
        (9.0, None),
    ],
)
def test_recovery_lasts_until_all_that_were_at_work_have_their_outcomes(
    harness: Callable[[str], Any], at: float, seconds: float | None
) -> None:
    records = [
        births(1.0, "a", "b"),
        outcome(2.0, "a"),
        {"kind": "lost", "time": 3.0, "member": "b"},
        outcome(4.0, "b"),
        births(5.0, "c"),
        outcome(6.2, "c"),
        {"kind": "end", "time": 7.0},
    ]
    found = harness("stories").recovery_s(records, at)
    assert found == (None if seconds is None else pytest.approx(seconds))


def test_growth_is_that_of_the_second_half_and_files_are_flat_if_no_more_stay_open(
    harness: Callable[[str], Any],
) -> None:
    growth = harness("growth")
    sizes = [200e6 + 5000 * min(at, 500) + 1250 * max(0, at - 500) for at in range(1, 1001)]
    points = [growth.Point(at, int(size), 20 + at % 3) for at, size in enumerate(sizes, 1)]
    assert growth.bytes_per_epoch(points) == pytest.approx(1250)
    assert [quarter[-1].outcomes for quarter in growth.quarters(points)] == [250, 500, 750, 1000]
    assert growth.text_of(points) == (
        "after each quarter 192, 193, 193, 194 MB of memory, 21, 21, 21, 21 open files, "
        "and 1.25 KB more per member-epoch in the second half"
    )
    assert growth.files_are_flat(points)
    assert not growth.files_are_flat([replace(one, files=20 + one.outcomes // 50) for one in points])


def test_a_life_with_further_legs_has_not_recovered(harness: Callable[[str], Any]) -> None:
    records = [births(1.0, "a"), outcome(2.0, "a", goes_on=True), outcome(3.0, "a")]
    assert harness("stories").recovery_s(records, 1.5) == 1.5


def row_of(trials: Any, fates: dict[str, Any]) -> Any:
    """A row whose trials are given, or raised."""

    def trial(_: Any, key: str) -> Any:
        if isinstance(fates[key], Exception):
            raise fates[key]
        return fates[key]

    return trials.Row("row", "a fault", lambda _: list(fates), trial, 1)


def carried_out(trials: Any, row: Any, out: Path | None = None, quick: bool = False) -> Any:
    results = trials.Results(out)
    lab = trials.Lab(None, Path(), quick)
    trials.carry_out([row], lab, results, 2, lambda _: None)
    return results


def test_the_table_counts_what_was_injected_survived_and_identical(harness: Callable[[str], Any]) -> None:
    trials = harness("trials")
    fates = {
        "a": trials.Trial(3, True, True, (1.0, 4.0)),
        "b": trials.Trial(1, True, False, (2.0,)),
        "c": AssertionError("it broke"),
    }
    row = row_of(trials, fates)
    results = carried_out(trials, row)
    assert trials.table([row], results).splitlines()[2:] == ["| a fault | 5 | 4 | 3 | 2.00 (4.00) |"]
    assert [one.key for one in trials.went_wrong([row], results)] == ["b", "c"]


def test_what_a_machine_lacks_is_reported_and_is_not_a_failure(harness: Callable[[str], Any]) -> None:
    trials = harness("trials")
    row = row_of(trials, {"a": trials.NotHere("no root")})
    results = carried_out(trials, row)
    assert trials.table([row], results).splitlines()[2:] == ["| a fault | not run: no root | | | |"]
    assert trials.went_wrong([row], results) == []


def test_only_what_is_missing_or_went_wrong_is_tried_again(
    harness: Callable[[str], Any], tmp_path: Path
) -> None:
    trials, out = harness("trials"), tmp_path / "out.jsonl"
    good = trials.Trial(2, True, True, (1.0,))
    first = row_of(trials, {"a": good, "b": replace(good, identical=False)})
    carried_out(trials, first, out)
    row = row_of(trials, {"a": AssertionError("again"), "b": good, "c": good})
    results = carried_out(trials, row, out)
    assert trials.went_wrong([row], results) == []
    assert trials.table([row], results).splitlines()[2:] == ["| a fault | 6 | 6 | 6 | 1.00 (1.00) |"]
    assert len([line for line in out.read_text().splitlines() if "row" in json.loads(line)]) == 4


def test_quick_makes_as_many_trials_as_a_row_says(harness: Callable[[str], Any]) -> None:
    trials = harness("trials")
    row = row_of(trials, {key: trials.Trial() for key in "abcdef"})
    assert len(carried_out(trials, row, quick=True).of("row")) == 1


def test_a_case_that_hangs_raises_or_writes_a_file_is_found(
    harness: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fuzz = harness("fuzz")
    monkeypatch.setattr(fuzz, "HANG_S", 0.05)
    from evodevo.errors import UsageError

    def case(chance: Any) -> None:
        match chance.randrange(10):
            case 0:
                while True:
                    pass
            case 1:
                raise KeyError("a traceback")
            case 2:
                raise UsageError("")
            case 3:
                (tmp_path / "left").touch()
            case 4:
                raise UsageError("this is wrong")

    monkeypatch.setitem(fuzz.KINDS, "odd", lambda directory, sample: case)
    found = fuzz.attempt("odd", range(40), tmp_path, tmp_path)
    said = {why.split(":")[0] for why in found["wrong"].values()}
    assert said == {"Hang", "KeyError", "refused without a message", "left left"}
    assert found["accepted"] > 0 < found["refused"]


@pytest.mark.slow
def test_some_faults_with_real_processes(tmp_path: Path) -> None:
    rows = ("record-kills", "checkpoint-kills", "full-journal", "damage-running", "removed", "fuzz-configs")
    done = subprocess.run(
        [sys.executable, str(BENCH / "faults.py"), "--quick", "--dir", str(tmp_path), "--only", *rows],
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    table = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert len(table) == 2 + len(rows)
