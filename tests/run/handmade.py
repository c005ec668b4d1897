"""Histories written by hand, record by record, for tests that need one no run would produce."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evodevo.config import RunConfig
from evodevo.evolution.strategies import Birth, find
from evodevo.run.codec import encode
from evodevo.run.events import (
    Begun,
    Births,
    Born,
    End,
    Ended,
    Event,
    Lost,
    Result,
    TakenOver,
    member_id,
)
from evodevo.run.history import History
from evodevo.run.journal import Journal, Record
from evodevo.run.records import CheckpointRef, EpochLosses, Outcome
from evodevo.run.setup import JOURNAL
from tests.run.fakes import SECONDS, config_of


def checkpoint(member: str) -> CheckpointRef:
    digest = hashlib.sha256(member.encode()).hexdigest()
    return CheckpointRef(f"{member}-a1-{digest[:12]}.safetensors", 16, digest)


class Pen:
    """Writes the records of one run; `now` is the time of the next one."""

    def __init__(self, config: RunConfig | None = None) -> None:
        self.config = config or config_of()
        self.records: list[Record] = []
        self.now = 1000.0
        self._generation = -1
        pace, inherits = self.config.complete().search.pace, find(self.config.search.strategy).inherits
        assert pace is not None
        self.write(Begun("", self.config.to_json(), pace, inherits))
        self.controller()

    @property
    def history(self) -> History:
        """The history of all records so far."""
        return History.of(self.records)

    def write(self, event: Event) -> None:
        self.records.append({"n": len(self.records), "time": self.now, **encode(event)})

    def controller(self, *retry: str) -> None:
        self.write(TakenOver({"host": "here"}, retry))

    def births(
        self, *alphas: str | None, genomes: Sequence[Mapping[str, Any]] = (), parent_a: str | None = None
    ) -> None:
        """Write the next generation, one member per α; layers encode the generation, rates the slot."""
        self._generation += 1
        births = []
        for slot, alpha in enumerate(alphas):
            own = genomes[slot] if genomes else {"layers": self._generation + 1, "rate": 0.01 * (slot + 1)}
            birth = Birth({**self.config.space().given(), **own}, parent_a or alpha, None, alpha)
            seed = 100 * self._generation + slot
            births.append(Born(member_id(self._generation, slot), self._generation, slot, birth, seed))
        self.write(Births(births))

    def founders(self, count: int = 4) -> None:
        self.births(*[None] * count)

    def outcome(self, member: str, outcome: Outcome, at: float | None = None) -> None:
        """Write the outcome of a member that was placed on its worker at `at`."""
        started_at = self.now if at is None else at
        self.write(Result(member, outcome, "tcp://a", started_at))

    def done(
        self,
        at: float | None = None,
        seconds: Mapping[str, float] = SECONDS,
        losses: Sequence[EpochLosses] = (),
        **foms: float,
    ) -> None:
        for member, fom in foms.items():
            metrics = {self.config.objective.metric: fom}
            outcome = Outcome("done", fom, metrics, checkpoint(member), seconds, losses=losses)
            self.outcome(member, outcome, at)

    def diverged(self, *members: str) -> None:
        for member in members:
            self.outcome(member, Outcome("diverged", seconds=SECONDS))

    def failed(self, *members: str, error: str = "Traceback") -> None:
        for member in members:
            self.outcome(member, Outcome("failed", error=error, seconds=SECONDS))

    def lost(self, member: str, why: str = "its worker was lost") -> None:
        self.write(Lost(member, why))

    def end(self, status: End = "done", reason: str | None = None, **test: float) -> None:
        self.write(Ended(status, reason, test))

    def generation(self, *alphas: str | None, foms: Sequence[float] = (4.0, 3.0, 2.0, 1.0)) -> None:
        """Write a whole generation whose members are done."""
        self.births(*alphas)
        members = [member_id(self._generation, slot) for slot in range(len(alphas))]
        self.done(**dict(zip(members, foms, strict=True)))

    def save(self, directory: Path) -> Path:
        """Save the records as the journal of a run's directory."""
        directory.mkdir(parents=True, exist_ok=True)
        with Journal(directory / JOURNAL) as journal:
            journal.append(self.records[len(journal.records) :])
        return directory
