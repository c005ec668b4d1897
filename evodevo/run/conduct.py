"""How a run's workers perform compared with each other: which are benched, and for how long. Pure.

A broken worker fails everything at once and is therefore always the first to be free. Trouble is evidence
against a worker only while others succeed; if none succeeds, no worker is to blame.
"""

from dataclasses import dataclass

FIRST_S = 1.0
LONGEST_S = 60.0
STRIKES = 6
"""A worker gets no more work after this many troubles in a row, each while others succeeded."""
PATIENCE = 12
"""After more troubles in a row than this, a worker's failures count against members: hardly any other worker
succeeded meanwhile."""
OUT = float("inf")


@dataclass(slots=True)
class _Record:
    others: bool = False
    """Whether another worker has succeeded since this one was last heard of."""
    strikes: int = 0
    troubles: int = 0
    """Consecutive troubles since the first strike."""


class Conduct:
    """Tracks successes and troubles of the workers of one run."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}
        self._succeeded: str | None = None
        """The worker that succeeded last."""

    def succeeded(self, worker: str) -> bool:
        """Record a worker's success; return whether there was evidence against it."""
        record = self._records.pop(worker, None)
        for other in self._records.values():
            other.others = True
        self._succeeded = worker
        return record is not None and record.strikes > 0

    def troubled(self, worker: str) -> float:
        """Record a worker's failure; return for how many seconds the worker is benched.

        Returns 0 if there is no evidence against it, and `OUT` if it gets no work until it is restarted.
        """
        record = self._records.get(worker)
        if record is None:
            others = self._succeeded is not None and self._succeeded != worker
            record = self._records[worker] = _Record(others)
        if record.others:
            record.strikes += 1
        record.others = False
        if not record.strikes:
            return 0.0
        record.troubles += 1
        if record.strikes >= STRIKES:
            return OUT
        return min(LONGEST_S, FIRST_S * 2.0 ** min(record.troubles - 1, 30))

    def suspects(self, worker: str) -> bool:
        """Return whether there is evidence against a worker; it expires if no other worker succeeds."""
        record = self._records.get(worker)
        return record is not None and record.strikes > 0 and record.troubles <= PATIENCE

    def cleared(self, worker: str) -> bool:
        """Drop the evidence against a worker that was not at fault; return whether there was any."""
        record = self._records.pop(worker, None)
        return record is not None and record.strikes > 0
