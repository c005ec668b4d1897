"""The schedule of a member: the hyperparameters with which its parameters were trained in each epoch.

It is the result of a run. Use it in any training loop:

    schedule = Schedule.load("checkpoints/quickstart/schedule.yaml")
    for epoch in range(schedule.epochs):
        settings = schedule.at(epoch)  # {"learning_rate": 0.05, ...}

or as a callback of a Hugging Face or Lightning trainer.
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
    """One life: its member, training seed, genome (all loci) and hyperparameters (the expressed loci).

    It lasted `legs` legs and `epochs` epochs in total. If a leg was a number of optimizer steps, the total is
    `steps`, and each leg counts as an epoch.
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
    """Number of members whose mean it started from; 1 for a single parent."""
    networks: Sequence[Mapping[str, Any]] = ()
    """With `search.ploidy` above 1, each network's `member`, `training_seed`, `hyperparameters` and `genome`.

    Networks have separate lines; the other fields of the entry describe the first one's.
    """


@dataclass(frozen=True)
class Schedule:
    """The α-line of `member`, from the first epoch on."""

    run: str
    member: str
    metric: str
    fom: float | None
    checkpoint_sha256: str | None
    entries: Sequence[Entry]
    start: Mapping[str, Any] | None = None
    """Origin of the first parameters if they come from another run: `run`, `member`, `epochs` trained so far
    and `checkpoint_sha256`. The schedule covers only the epochs after that."""

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
        """Return the hyperparameters of an epoch, counted from 0. Raises `IndexError` past the end."""
        if not 0 <= epoch < self.epochs:
            raise IndexError(f"the schedule has epochs 0 to {self.epochs - 1}, not {epoch}")
        ends = itertools.accumulate(entry.epochs for entry in self.entries)
        return dict(self.entries[bisect.bisect_right(list(ends), epoch)].hyperparameters)

    def hugging_face_callback(self, apply: callbacks.Apply | None = None) -> Any:
        """Return a callback for `transformers.Trainer` that sets the hyperparameters of each epoch.

        Hyperparameters that the optimizer has (`learning_rate`, `weight_decay`, `momentum`, ...) are set in
        all its groups, a weight decay only in those that have one. `apply(settings, model)` is called with
        all others at the start of each epoch. A scheduler multiplies the learning rate, and the Trainer uses
        one unless `lr_scheduler_type="constant"`. Raises `UsageError`, also from `train()`, if the training
        is longer than the schedule, or a hyperparameter fits neither the optimizer nor `apply`.
        """
        return callbacks.hugging_face(self, apply)

    def lightning_callback(self, apply: callbacks.Apply | None = None) -> Any:
        """Return a callback for Lightning's `Trainer`, of `lightning.pytorch` or `pytorch_lightning`.

        It works like `hugging_face_callback`; the model passed to `apply` is the LightningModule.
        """
        return callbacks.lightning(self, apply)

    @classmethod
    def of(cls, history: History, life: Life) -> Self:
        """Return the schedule of a member of a run."""
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
        """Read a schedule.yaml. Raises `UsageError` if it is not a valid one."""
        data = yaml_text.read(Path(path), "the schedule.yaml of a run")
        try:
            return cls(entries=[_entry(**epoch) for epoch in data.pop("epochs")], **data)
        except (KeyError, TypeError, AttributeError) as why:
            raise UsageError(f"{path} is not a schedule of evodevo: {why}") from None

    def to_yaml(self) -> str:
        """Return the text of schedule.yaml."""
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
    """Return the training of each network of an ensemble for each entry of its schedule.

    Empty for members with one network, and if the networks' lines differ in length.
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
            for at, one in enumerate(lives)
        ]
        for lives in zip(*lines, strict=True)
    ]


def _entry(*, epoch: int, genome: Mapping[str, Any] | None = None, **values: Any) -> Entry:
    """Return an entry from its data in the file, which omits the genome if all of it is expressed.

    Raises `TypeError` for invalid data.
    """
    for name in ("epochs", "legs", "steps", "mean_of"):
        if (value := values.get(name, 1)) is not None and (type(value) is not int or value < 1):
            raise TypeError(f"{name} should be a whole number, 1 or more, not {value!r}")
    for name, value in (("hyperparameters", values["hyperparameters"]), ("genome", genome)):
        if value is not None and not (
            isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
        ):
            raise TypeError(f"{name} should map names to values, not {value!r}")
    for network in values.get("networks", ()):
        if not (
            isinstance(network, Mapping)
            and isinstance(network.get("genome"), Mapping)
            and type(network.get("training_seed")) is int
        ):
            raise TypeError(f"each network should have a genome and a training_seed, not {network!r}")
    return Entry(genome=values["hyperparameters"] if genome is None else genome, **values)


def _legs(history: History, life: Life) -> int:
    """Return the legs of a life: of its longest repeat if it is over, else as configured."""
    life = history.by_id.get(life.same_as or "", life)
    if life.outcome is None or life.same_as is not None:
        return history.config.search.legs
    ends = [0, *(at + 1 for at, leg in enumerate(life.legs) if leg.again), len(life.legs) + 1]
    return max(end - begin for begin, end in itertools.pairwise(ends))


def _start(history: History) -> dict[str, Any] | None:
    """Return the origin of the founders' parameters in the form of the file, or None if they were random."""
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
