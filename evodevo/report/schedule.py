"""The schedule of a member: the hyperparameters of each epoch that its parameters were trained with.

It is what a run finds. Use it in any training loop:

    schedule = Schedule.load("checkpoints/quickstart/schedule.yaml")
    for epoch in range(schedule.epochs):
        settings = schedule.at(epoch)  # {"learning_rate": 0.05, ...}

or in a trainer of Hugging Face's or Lightning's, as a callback.
"""

import bisect
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from evodevo import yaml_text
from evodevo.errors import UsageError
from evodevo.report import callbacks, web
from evodevo.run import networks
from evodevo.run.history import History
from evodevo.run.life import Life, Mean


@dataclass(frozen=True)
class Entry:
    """One life: whose it was, its training seed, its genome (all loci), and what of that counts.

    It lasted `legs` legs, of `epochs` epochs together; if a leg was a number of optimizer steps, of `steps`,
    and each leg counts as an epoch.
    """

    member: str
    training_seed: int
    fom: float | None
    hyperparameters: Mapping[str, Any]
    genome: Mapping[str, Any]
    epochs: int = 1
    legs: int = 1
    steps: int | None = None
    mean_of: int = 1
    """How many members' mean it began from; of one alone its parameters."""
    networks: Sequence[Mapping[str, Any]] = ()
    """With `search.ploidy` above 1, of each network: `member`, `training_seed`, `hyperparameters`, `genome`.
    Each has a line of its own; what the entry says besides is of the first one's."""


@dataclass(frozen=True)
class Schedule:
    """The α-line of `member`, first epoch first."""

    run: str
    member: str
    metric: str
    fom: float | None
    checkpoint_sha256: str | None
    entries: Sequence[Entry]
    start: Mapping[str, Any] | None = None
    """If the parameters of the first life are of another run: `run`, `member`, `epochs` trained before, and
    `checkpoint_sha256`. The epochs of the schedule are those that came after."""

    @property
    def epochs(self) -> int:
        return sum(entry.epochs for entry in self.entries)

    def __repr__(self) -> str:
        fom = "" if self.fom is None else f", {self.metric} {self.fom:.6g}"
        return f"<Schedule of {self.run}, {self.member}: {self.epochs} epochs{fom}>"

    def _repr_html_(self) -> str:
        names = list(dict.fromkeys(name for entry in self.entries for name in entry.hyperparameters))
        rows = [[at, *(self.at(at).get(name, "") for name in names)] for at in range(self.epochs)]
        return web.table(["epoch", *names], rows)

    def at(self, epoch: int) -> dict[str, Any]:
        """The hyperparameters of an epoch, counted from 0. Raises `IndexError` past the end."""
        if not 0 <= epoch < self.epochs:
            raise IndexError(f"the schedule has epochs 0 to {self.epochs - 1}, not {epoch}")
        ends = itertools.accumulate(entry.epochs for entry in self.entries)
        return dict(self.entries[bisect.bisect_right(list(ends), epoch)].hyperparameters)

    def hugging_face_callback(self, apply: callbacks.Apply | None = None) -> Any:
        """Return a callback for `transformers.Trainer` that sets the hyperparameters of each epoch.

        What the optimizer has a setting for (`learning_rate`, `weight_decay`, `momentum`, ...) is set in all
        its groups, a weight decay only in those that have one. `apply(settings, model)` is called with all
        others when an epoch begins. A scheduler multiplies the learning rate; the Trainer has one that
        does, unless `lr_scheduler_type="constant"`. Raises `UsageError`, also from `train()`, for a training
        that is longer than the schedule and for what neither the optimizer nor `apply` takes.
        """
        return callbacks.hugging_face(self, apply)

    def lightning_callback(self, apply: callbacks.Apply | None = None) -> Any:
        """Return the same for the `Trainer` of Lightning, `lightning.pytorch` or `pytorch_lightning`.

        The model that `apply` gets is the LightningModule.
        """
        return callbacks.lightning(self, apply)

    @classmethod
    def of(cls, history: History, life: Life) -> Self:
        """The schedule of a member of a run."""
        space, steps = history.config.space(), history.config.search.steps_per_generation
        entries = [
            Entry(
                ancestor.id,
                ancestor.training_seed,
                ancestor.fom,
                space.express(ancestor.birth.genome),
                dict(ancestor.birth.genome),
                _legs(history, ancestor) * history.config.search.leg_epochs(ancestor.generation),
                _legs(history, ancestor),
                steps and steps * _legs(history, ancestor),
                _began_from(history, ancestor),
                trained,
            )
            for ancestor, trained in zip(history.line(life), _networks(history, life), strict=True)
        ]
        checkpoint = life.outcome.checkpoint if life.outcome else None
        return cls(
            run=history.config.run.name,
            member=life.id,
            metric=history.config.objective.metric,
            fom=life.fom,
            checkpoint_sha256=checkpoint.sha256 if checkpoint else None,
            entries=entries,
            start=_start(history),
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
            **({"start": dict(self.start)} if self.start else {}),
        }
        begins = itertools.accumulate((entry.epochs for entry in self.entries), initial=0)
        epochs = [
            {
                "epoch": number,
                "member": entry.member,
                "training_seed": entry.training_seed,
                "fom": entry.fom,
                "hyperparameters": dict(entry.hyperparameters),
                **({"genome": dict(entry.genome)} if entry.genome != entry.hyperparameters else {}),
                **({"epochs": entry.epochs} if entry.epochs != 1 else {}),
                **({"legs": entry.legs} if entry.legs != 1 else {}),
                **({"steps": entry.steps} if entry.steps is not None else {}),
                **({"mean_of": entry.mean_of} if entry.mean_of != 1 else {}),
                **({"networks": [dict(one) for one in entry.networks]} if entry.networks else {}),
            }
            for number, entry in zip(begins, self.entries, strict=False)
        ]
        return yaml_text.dump({**head, "epochs": epochs}, default_flow_style=None, width=1000)


def _began_from(history: History, life: Life) -> int:
    parent = history.by_id.get(life.birth.first_parent or "")
    return len(parent.of) if isinstance(parent, Mean) else 1


def _networks(history: History, life: Life) -> list[Sequence[dict[str, Any]]]:
    """Return for each entry of the schedule of an ensemble how each of its networks was trained then.

    Nothing for members with one network, and if the lines of networks have different lengths.
    """
    search, space = history.config.search, history.config.space()
    lines = [networks.line_of(history, life, at) for at in range(search.ploidy)]
    if search.ploidy == 1 or len({len(line) for line in lines}) > 1:
        return [()] * len(lines[0])
    return [
        [
            {
                "member": one.id,
                "training_seed": networks.seed_of(one, at),
                "hyperparameters": space.express(networks.genome_of(history, one, at)),
                "genome": dict(networks.genome_of(history, one, at)),
            }
            for at, one in enumerate(together)
        ]
        for together in zip(*lines, strict=True)
    ]


def _entry(*, epoch: int, genome: Mapping[str, Any] | None = None, **values: Any) -> Entry:
    """An entry as the file has it: the genome is left out where all of it counts.

    Raises `TypeError` for what an entry cannot have.
    """
    for name in ("epochs", "legs", "steps", "mean_of"):
        if (value := values.get(name, 1)) is not None and (type(value) is not int or value < 1):
            raise TypeError(f"{name} should be a number, 1 or more, not {value!r}")
    for name, value in (("hyperparameters", values["hyperparameters"]), ("genome", genome)):
        if value is not None and not (
            isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
        ):
            raise TypeError(f"{name} should be values by their names, not {value!r}")
    for network in values.get("networks", ()):
        if not (
            isinstance(network, Mapping)
            and isinstance(network.get("genome"), Mapping)
            and type(network.get("training_seed")) is int
        ):
            raise TypeError(f"networks should have each a genome and a training_seed, not {network!r}")
    return Entry(genome=values["hyperparameters"] if genome is None else genome, **values)


def _legs(history: History, life: Life) -> int:
    """How many legs a life had (of repeats the longest), or is to have; of another run's none are known."""
    life = history.by_id.get(life.same_as or "", life)
    if life.outcome is None or life.same_as is not None:
        return history.config.search.legs
    ends = [0, *(at + 1 for at, leg in enumerate(life.legs) if leg.again), len(life.legs) + 1]
    return max(end - begin for begin, end in itertools.pairwise(ends))


def _start(history: History) -> dict[str, Any] | None:
    """The parameters that the founders of a run start from, as the file has it."""
    origin = history.origin
    if origin is None or origin.checkpoint is None:
        return None
    sha256 = origin.checkpoint.sha256
    return {
        "run": origin.run,
        "member": origin.member,
        "epochs": origin.epochs,
        "checkpoint_sha256": sha256,
    }
