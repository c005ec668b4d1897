"""The schedule of a member: the hyperparameters of each epoch that its parameters were trained with.

It is what a run finds. Use it in any training loop:

    schedule = Schedule.load("checkpoints/quickstart/schedule.yaml")
    for epoch in range(schedule.epochs):
        settings = schedule.at(epoch)  # {"learning_rate": 0.05, ...}
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from evodevo import yaml_text
from evodevo.errors import UsageError
from evodevo.run.history import History, Life


@dataclass(frozen=True)
class Entry:
    """One epoch: whose it was, its training seed, its genome (all loci), and what of that counts."""

    member: str
    training_seed: int
    fom: float | None
    hyperparameters: Mapping[str, Any]
    genome: Mapping[str, Any]


@dataclass(frozen=True)
class Schedule:
    """The α-line of `member`, first epoch first."""

    run: str
    member: str
    metric: str
    fom: float | None
    checkpoint_sha256: str | None
    entries: Sequence[Entry]

    @property
    def epochs(self) -> int:
        return len(self.entries)

    def at(self, epoch: int) -> dict[str, Any]:
        """The hyperparameters of an epoch, counted from 0. Raises `IndexError` past the end."""
        if not 0 <= epoch < self.epochs:
            raise IndexError(f"the schedule has epochs 0 to {self.epochs - 1}, not {epoch}")
        return dict(self.entries[epoch].hyperparameters)

    @classmethod
    def of(cls, history: History, life: Life) -> Self:
        """The schedule of a member of a run."""
        space = history.config.space()
        entries = [
            Entry(
                ancestor.id,
                ancestor.training_seed,
                ancestor.fom,
                space.express(ancestor.birth.genome),
                dict(ancestor.birth.genome),
            )
            for ancestor in history.line(life)
        ]
        checkpoint = life.outcome.checkpoint if life.outcome else None
        return cls(
            run=history.config.run.name,
            member=life.id,
            metric=history.config.objective.metric,
            fom=life.fom,
            checkpoint_sha256=checkpoint.sha256 if checkpoint else None,
            entries=entries,
        )

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a schedule.yaml. Raises `UsageError` where it is none."""
        data = yaml_text.read(Path(path), "the schedule.yaml of a run")
        try:
            return cls(entries=[_entry(**epoch) for epoch in data.pop("epochs")], **data)
        except (KeyError, TypeError, AttributeError) as why:
            raise UsageError(f"{path}: is no schedule of evodevo's: {why}") from None

    def to_yaml(self) -> str:
        """The text of schedule.yaml."""
        head = {
            "run": self.run,
            "member": self.member,
            "metric": self.metric,
            "fom": self.fom,
            "checkpoint_sha256": self.checkpoint_sha256,
        }
        epochs = [
            {
                "epoch": number,
                "member": entry.member,
                "training_seed": entry.training_seed,
                "fom": entry.fom,
                "hyperparameters": dict(entry.hyperparameters),
                **({"genome": dict(entry.genome)} if entry.genome != entry.hyperparameters else {}),
            }
            for number, entry in enumerate(self.entries)
        ]
        return yaml_text.dump({**head, "epochs": epochs}, default_flow_style=None, width=1000)


def _entry(*, epoch: int, genome: Mapping[str, Any] | None = None, **values: Any) -> Entry:
    """An entry as the file has it: the genome is left out where all of it counts."""
    return Entry(genome=values["hyperparameters"] if genome is None else genome, **values)
