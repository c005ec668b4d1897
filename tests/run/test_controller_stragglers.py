"""A member on a worker that never answers is trained by another, with the same history."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest

from evodevo.run import loop, stragglers
from evodevo.run.records import Assignment
from tests.run.fakes import WORKERS, FakeCaller, Fate, config_of, finished, story

SLOW = WORKERS[0]


@pytest.fixture(autouse=True)
def hours_pass_in_milliseconds() -> Iterator[None]:
    hasty = SimpleNamespace(time=time.time, monotonic=lambda: 1e5 * time.monotonic())
    with patch.object(loop, "time", hasty), patch.object(stragglers, "LOOK_EVERY_S", 0.002):
        yield


def stuck_at(*members: str) -> FakeCaller:
    """The first worker that is given one of these members never says anything again."""
    stuck: set[str] = set()

    def fate(assignment: Assignment) -> Fate:
        if assignment.member in members and assignment.member not in stuck:
            stuck.add(assignment.member)
            return "hang"
        return "done"

    return FakeCaller(fate)


@pytest.mark.parametrize("pace", ["generations", "pools"])
def test_a_worker_that_never_answers_changes_nothing(pace: str, tmp_path: Path) -> None:
    config = config_of(search__pace=pace)
    expected = story(finished(tmp_path / "quiet", config))
    caller = stuck_at("g001s002", "g002s000")
    history = finished(tmp_path / "run", config, caller)
    assert (history.end, story(history)) == ("done", expected)
    assert history.lost_attempts == 0
    assert [one.member for one in caller.assignments].count("g001s002") == 2


def test_the_mean_of_a_generation_may_be_late_too(tmp_path: Path) -> None:
    config = config_of(search__recombine={"last": 0.5})
    expected = story(finished(tmp_path / "quiet", config))
    caller = stuck_at("g001mean")
    history = finished(tmp_path / "run", config, caller)
    assert (history.end, story(history)) == ("done", expected)
