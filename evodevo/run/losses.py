"""Sum up the attempts that were lost on a worker, so that memory does not grow with each of them."""

from dataclasses import dataclass


@dataclass(slots=True)
class Loss:
    """The attempts that were lost on one worker; times are seconds since the epoch."""

    first: float = float("inf")
    """When the earliest of them began."""
    last: float = float("-inf")
    """When the latest of them was lost."""
    seconds: float = 0.0

    def add(self, at: float, seconds: float) -> None:
        """Add an attempt that was lost at `at`, after `seconds`."""
        self.first = min(self.first, at - seconds)
        self.last = max(self.last, at)
        self.seconds += seconds
