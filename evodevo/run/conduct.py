"""How the workers of a run do, compared with each other: who is benched, and for how long. Pure.

A worker that is broken fails all that it is given, at once, and is therefore always the first that is free.
Evidence against it is trouble while others succeed; where nobody succeeds, no worker is to blame.
"""

from dataclasses import dataclass

FIRST_S = 1.0
LONGEST_S = 60.0
STRIKES = 6
"""A worker that had trouble so many times in a row, each time while others succeeded, is out."""
PATIENCE = 12
"""After so many troubles in a row, most of them while nobody else was at work, a worker is believed."""
OUT = float("inf")


@dataclass(slots=True)
class _Record:
    others: bool = False
    """Whether another worker has succeeded since the last thing that is known of this one."""
    strikes: int = 0
    troubles: int = 0
    """In a row, since the first strike."""


class Conduct:
    """What is known of the workers of one run."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}
        self._succeeded: str | None = None
        """Who succeeded last."""

    def succeeded(self, worker: str) -> bool:
        """A worker has done what it was given; return whether it was thought ill of."""
        record = self._records.pop(worker, None)
        for other in self._records.values():
            other.others = True
        self._succeeded = worker
        return record is not None and record.strikes > 0

    def troubled(self, worker: str) -> float:
        """A worker has failed what it was given; return for how many seconds it is benched.

        0 if there is no evidence against it, and `OUT` if it is to get nothing before it restarts.
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
        """Whether there is evidence against a worker; it fades if no other one shows that it can be done."""
        record = self._records.get(worker)
        return record is not None and record.strikes > 0 and record.troubles <= PATIENCE

    def cleared(self, worker: str) -> bool:
        """What was held against a worker was not its fault; return whether it was thought ill of."""
        record = self._records.pop(worker, None)
        return record is not None and record.strikes > 0
