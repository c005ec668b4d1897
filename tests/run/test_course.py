"""Lives from scratch: repeats, the best of several legs, and lives that seem hopeless and end early."""

import random
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from evodevo.config import RunConfig
from evodevo.errors import UsageError
from evodevo.report.savings import savings_of
from evodevo.report.summary import summary_lines
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.course import Course
from evodevo.run.history import History
from evodevo.run.life import Life
from evodevo.run.records import Assignment
from evodevo.run.retention import needed_checkpoints
from tests.run.fakes import FakeCaller, carry_out, config_of, finished, story
from tests.run.test_controller_resumed import resumed_everywhere

REPEATED = {"objective__repeats": 3, "search__legs": 2}
BEST = {"objective__over": "best", "search__legs": 4}
HALVING = {"search__stop_early": "halving", "search__legs": 4}
MEDIAN = {"search__stop_early": "median", "search__legs": 4}


def config(**changes: Any) -> RunConfig:
    return config_of(**{"search__inherit": "none", "search__generations": 3, **changes})


def legs_of(caller: FakeCaller) -> dict[str, list[Assignment]]:
    found = defaultdict(list)
    for one in caller.assignments:
        found[one.member].append(one)
    return found


def foms_of(history: History, member: str) -> list[float]:
    """Return the foms of the legs from which a life continued."""
    return [leg.outcome.fom for leg in history.by_id[member].legs if leg.outcome.fom is not None]


def test_each_repeat_begins_from_scratch_with_its_own_seeds(tmp_path: Path) -> None:
    caller = FakeCaller()
    finished(tmp_path / "run", config(**REPEATED), caller)
    for legs in legs_of(caller).values():
        assert [leg.parent is None for leg in legs] == [True, False] * 3
        assert [leg.epoch for leg in legs] == [0, 1] * 3
        assert len({leg.training_seed for leg in legs}) == 6


def trained(history: History) -> list[Life]:
    """The members that have not the outcome of another one."""
    return [life for life in history.lives() if not life.same_as]


def foms_of_repeats(life: Life) -> list[str]:
    """As the note on its outcome has them."""
    assert life.outcome is not None
    (said,) = (note for note in life.outcome.notes if note.startswith("the median of"))
    return said.split(": ")[1].split(", ")


def test_the_fom_is_the_median_of_the_repeats_and_so_are_the_parameters(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config(**REPEATED))
    for life in trained(history):
        first, second = (leg.outcome for leg in life.legs if leg.again)
        assert life.outcome is not None
        assert f"{life.fom:.6g}" == sorted(foms_of_repeats(life), key=float)[1]
        for repeat in (first, second):
            assert (life.fom == repeat.fom) == (life.outcome.checkpoint == repeat.checkpoint)
    assert history.best is not None
    assert history.best.outcome is not None
    kept = history.best.outcome.checkpoint
    assert kept is not None
    assert CheckpointStore(str(tmp_path / "run" / "params")).names() == [kept.name]


def test_of_an_even_number_of_repeats_the_worse_one_in_the_middle_counts(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config(objective__repeats=2))
    for life in trained(history):
        assert f"{life.fom:.6g}" == max(foms_of_repeats(life), key=float)


def test_the_best_leg_counts_and_its_parameters_are_kept(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config(**BEST))
    by_leg = finished(tmp_path / "last", config(**{**BEST, "objective__over": "last"}))
    for life in history.generations[0]:
        last = by_leg.by_id[life.id]
        legs = [*(leg.outcome for leg in last.legs), last.outcome]
        best = min(legs, key=lambda one: one.fom if one and one.fom is not None else 9e9)
        assert best is not None
        assert life.outcome is not None
        assert life.fom == best.fom
        assert life.outcome.checkpoint is not None
        assert best.checkpoint is not None
        assert life.outcome.checkpoint.sha256 == best.checkpoint.sha256


@pytest.mark.parametrize("rule", [HALVING, MEDIAN])
@pytest.mark.parametrize("pace", ["generations", "pools"])
def test_hopeless_lives_end_early_by_what_was_known_when_they_began(
    rule: dict[str, Any], pace: str, tmp_path: Path
) -> None:
    one = config(search__pace=pace, search__population=8, search__generations=5, **rule)
    history = finished(tmp_path / "run", one)
    stopped = [life for life in history.lives() if life.stopped]
    assert stopped
    assert all(life.stopped == rule["search__stop_early"] for life in stopped)
    assert not any(life.stopped for life in history.generations[0]), "there was nobody to be worse than"
    assert all(life.fom is not None for life in stopped), "they count with the fom that they have"
    for seed in range(3):
        caller = FakeCaller(shuffle=random.Random(seed))
        assert story(finished(tmp_path / f"{seed}", one, caller)) == story(history)


def test_the_summary_says_what_ending_early_has_saved(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config(search__population=8, **HALVING))
    stopped = [life for life in history.lives() if life.stopped]
    facts = savings_of(history)
    assert facts["stopped_early"] == {"halving": len(stopped)}
    assert facts["saved_epochs"] == sum(4 - 1 - len(life.legs) for life in stopped)
    assert f"saved {facts['saved_epochs']} epochs" in dict(summary_lines(history))["saved"]


def test_by_halving_whoever_is_worse_than_the_median_after_legs_1_2_and_4_goes_no_further(
    tmp_path: Path,
) -> None:
    history = finished(tmp_path / "run", config(search__population=8, **HALVING))
    for life in history.generations[1]:
        for leg in (1, 2):
            rivals = [foms_of(history, other.id)[leg - 1] for other in history.generations[0]]
            mine = foms_of(history, life.id)
            if len(mine) >= leg:
                assert mine[leg - 1] <= statistics.median(rivals)
            elif life.stopped and len(mine) == leg - 1:
                assert life.fom is not None
                assert life.fom > statistics.median(rivals)


def test_a_leg_is_compared_with_the_same_leg_of_members_that_were_not_trained_themselves(
    tmp_path: Path,
) -> None:
    few = {"layers": {"type": "int", "low": 1, "high": 4, "initial": 2}}
    history = finished(tmp_path / "run", config(search__loci=few, search__population=12, **MEDIAN))
    assert any(life.same_as for life in history.generations[0])
    course = Course(history, 1, lambda member, leg: True)
    for leg in range(4):
        after = []
        for life in history.generations[0]:
            outcome = list(history.by_id[life.same_as or life.id].outcomes())[leg]
            after.append(outcome.fom)
        assert course.rivals_of(history.generations[1][0], leg) == sorted(after, key=lambda fom: fom or 0.0)


@pytest.mark.parametrize("kind", [REPEATED, BEST, HALVING, MEDIAN])
def test_a_run_that_is_killed_anywhere_has_the_same_history(kind: dict[str, Any], tmp_path: Path) -> None:
    one = config(search__population=3, **kind)
    quiet = finished(tmp_path / "quiet", one)
    for run, then, caller in resumed_everywhere(tmp_path, one, FakeCaller):
        history = carry_out(run, FakeCaller())
        assert story(history) == story(quiet)
        known = {(life.id, leg) for life in then.births for leg, _ in enumerate(life.outcomes())}
        assert not known & {(one.member, one.leg) for one in caller.assignments}
        names = CheckpointStore(str(run / "params")).names()
        assert set(names) == needed_checkpoints(history)


def test_a_lost_leg_costs_one_leg(tmp_path: Path) -> None:
    quiet, disturbed = (
        FakeCaller(),
        FakeCaller(lambda a: "worker" if (a.leg, a.attempt) == (4, 5) else "done"),
    )
    expected = finished(tmp_path / "quiet", config(**REPEATED), quiet)
    assert story(finished(tmp_path / "run", config(**REPEATED), disturbed)) == story(expected)
    assert len(disturbed.assignments) == len(quiet.assignments) + len(trained(expected))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective__repeats": 2}, "objective.repeats: requires members that train from scratch"),
        ({"search__stop_early": "median"}, "search.stop_early: requires members that train from scratch"),
        ({"search__inherit": "none", "objective__over": "best"}, "objective.over: compares legs"),
        ({"search__inherit": "none", "search__stop_early": "halving"}, "search.stop_early: compares legs"),
        ({"search__inherit": "none", "search__soup": True}, "search.soup: networks that train from scratch"),
        (
            {"search__inherit": "none", "search__epochs_per_generation": [1, 2]},
            "search.epochs_per_generation: members train from scratch, so lives with 1 and 2 epochs",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        config_of(**changes)


def test_a_hopeless_life_has_no_further_repeats_and_what_was_saved_counts_them(tmp_path: Path) -> None:
    one = config(search__population=8, objective__repeats=3, **HALVING)
    history = finished(tmp_path / "run", one)
    stopped = [life for life in history.lives() if life.stopped]
    assert stopped
    assert not any(leg.again for life in stopped for leg in life.legs)
    trainings = sum(len(list(life.outcomes())) for life in stopped)
    assert savings_of(history)["saved_epochs"] == 3 * 4 * len(stopped) - trainings


def test_patience_ends_a_repeat_and_what_that_saved_is_never_negative(tmp_path: Path) -> None:
    one = config(objective__repeats=3, search__legs=5, search__patience=1)
    history = finished(tmp_path / "run", one)
    impatient = [life for life in trained(history) if life.stopped or any(leg.stopped for leg in life.legs)]
    assert any(not life.stopped for life in impatient)
    assert all(sum(leg.again for leg in life.legs) == 2 for life in impatient)
    trainings = sum(len(list(life.outcomes())) for life in impatient)
    assert savings_of(history)["saved_epochs"] == 3 * 5 * len(impatient) - trainings
