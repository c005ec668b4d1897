"""Measure how a scheduler's memory and open files grow while it carries out a run."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.processes import Cluster
from harness.stories import Follower

FILES_MORE = 10
"""Tolerated growth in open files between the first and the last quarter: connections come and go."""


@dataclass(frozen=True)
class Point:
    """A scheduler's process after a number of member-epochs."""

    outcomes: int
    bytes: int
    files: int


class Watch:
    """Follows a run, and measures its scheduler whenever there are new outcomes."""

    def __init__(self, cluster: Cluster, run: Path) -> None:
        self.follower = Follower(run)
        self.points: list[Point] = []
        self._scheduler = psutil.Process(cluster.scheduler.pid)

    def has_ended(self) -> bool:
        """Measure; return whether the run has ended."""
        self.follower.read()
        outcomes = self.follower.outcomes
        if outcomes and (not self.points or outcomes > self.points[-1].outcomes):
            memory = self._scheduler.memory_info().rss
            self.points.append(Point(outcomes, memory, self._scheduler.num_fds()))
        return self.follower.ended


def quarters(points: Sequence[Point]) -> list[Sequence[Point]]:
    """Return the points of each quarter of the member-epochs that has any."""
    total = points[-1].outcomes
    found = ([one for one in points if at * total < 4 * one.outcomes <= (at + 1) * total] for at in range(4))
    return [one for one in found if one]


def bytes_per_epoch(points: Sequence[Point]) -> float:
    """Return by how many bytes memory grows per member-epoch in the second half: the slope of a line."""
    half = [one for one in points if 2 * one.outcomes >= points[-1].outcomes]
    return statistics.linear_regression([one.outcomes for one in half], [one.bytes for one in half]).slope


def files_are_flat(points: Sequence[Point]) -> bool:
    """Return whether the number of open files stays the same, apart from connections that come and go."""
    files = [statistics.median(one.files for one in quarter) for quarter in quarters(points)]
    return files[-1] - files[0] <= FILES_MORE


def text_of(points: Sequence[Point]) -> str:
    """Return a scheduler's memory and open files after each quarter, and its growth."""
    ends = quarters(points)
    memory = ", ".join(f"{quarter[-1].bytes / 2**20:.0f}" for quarter in ends)
    files = ", ".join(f"{statistics.median(one.files for one in quarter):g}" for quarter in ends)
    return (
        f"after each quarter {memory} MB of memory, {files} open files, "
        f"and {bytes_per_epoch(points) / 1000:.2f} KB more per member-epoch in the second half"
    )
