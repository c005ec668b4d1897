"""Read a run's journal: its history without times, and how long it took to recover from a fault."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evodevo.report.tables import history_csv
from evodevo.run.history import History, load_history
from evodevo.run.journal import JournalError, Tail

TIMED_COLUMNS = ("attempt", "worker", "load_s", "train_s", "eval_s", "save_s", "wait_s")
JOURNAL = "journal.jsonl"


def history_of(run: Path) -> History:
    """Return the history so far; empty if there is no journal yet, or while its end is being truncated."""
    try:
        return load_history(run / JOURNAL) if (run / JOURNAL).exists() else History()
    except JournalError:
        return History()


def records_of(run: Path) -> list[dict[str, Any]]:
    return Tail(run / JOURNAL).read() if (run / JOURNAL).exists() else []


def story(run: Path) -> tuple[str | None, list[dict[str, str]], dict[str, list[str | None]]]:
    """Return how the run ended, history.csv without times and workers, and each checkpoint's sha256."""
    history = history_of(run)
    rows = csv.DictReader(io.StringIO(history_csv(history)))
    sums = {
        life.id: [one.checkpoint.sha256 if one.checkpoint else None for one in life.outcomes()]
        for life in history.lives()
    }
    untimed = [{key: value for key, value in row.items() if key not in TIMED_COLUMNS} for row in rows]
    return history.end, untimed, sums


def recovery_s(records: Iterable[Mapping[str, Any]], at: float) -> float | None:
    """Return the seconds from `at` until all members that were in progress at that time have their outcome.

    If no member was: until the next outcome, or the end. None if nothing happened after `at`.
    """
    pending: set[str] = set()
    then: set[str] | None = None
    last = None
    for record in records:
        kind, time = record["kind"], record["time"]
        if time > at and then is None:
            then = set(pending)
        if kind == "births":
            pending |= {born["member"] for born in record["births"]}
        elif kind == "outcome" and not record.get("goes_on"):
            pending.discard(record["member"])
            if then is not None and (record["member"] in then or not then):
                last = time - at
                then.discard(record["member"])
                if not then:
                    return float(last)
        elif kind == "end" and then is not None and not then:
            return float(time - at)
    return None if last is None else float(last)


class Follower:
    """Follows the records of a running run; each call returns the new ones."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._tail: Tail | None = None
        self.outcomes = 0
        self.ended = False

    def read(self) -> list[dict[str, Any]]:
        if self._tail is None:
            if not (self._run / JOURNAL).exists():
                return []
            self._tail = Tail(self._run / JOURNAL)
        records = self._tail.read()
        for record in records:
            self.outcomes += record["kind"] == "outcome"
            self.ended = record["kind"] == "end"
        return records

    def has_ended(self) -> bool:
        self.read()
        return self.ended

    def has(self, outcomes: int) -> bool:
        self.read()
        return self.outcomes >= outcomes
