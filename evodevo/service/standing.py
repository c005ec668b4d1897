"""How things stand around a run that a service carries out, or could."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Standing:
    """How things stand around a run; except for its records, what `view.Reading` holds."""

    live: bool
    workers: int | None
    problems: Sequence[str]
    unused_workers: int | None = None
    unused_why: Sequence[str] = ()
    waits: str = ""
