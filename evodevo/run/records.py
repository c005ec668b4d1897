"""Records that cross process borders: small, frozen, plain data. Weights travel only as references."""

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from evodevo.run.compact import Compact, compact

PER_DEVICE = "EVODEVO_WORKERS_PER_DEVICE"
"""Environment variable that tells a worker how many workers may share its GPU."""

Status = Literal["done", "diverged", "failed"]
STATUSES: Mapping[str, Status] = {"done": "done", "diverged": "diverged", "failed": "failed"}
"""The statuses by their text, of which there is one copy."""

NOTHING: Mapping[str, Any] = compact({})

STREAM = "evodevo-report"
"""The operation by which workers report on their stream to the scheduler."""

SENT_FUNCTION = "evodevo-function-"
"""Start of the name of a worker plugin that carries a function which cannot be imported; a key follows."""


def in_json(numbers: Mapping[str, float]) -> dict[str, float | str]:
    """Return numbers as JSON can hold them: one that is not finite becomes "nan", "inf" or "-inf"."""
    return {name: _in_json(value) for name, value in numbers.items()}


def _in_json(number: float) -> float | str:
    return number if math.isfinite(number) else str(float(number))


def from_json(numbers: Mapping[str, float | str]) -> Mapping[str, float]:
    """Return what `in_json` was given, in little memory, because there are very many outcomes."""
    if not numbers:
        return NOTHING
    found: Mapping[str, Any] = compact(numbers)
    if type(found) is Compact:
        return found
    return compact({name: float(value) if isinstance(value, str) else value for name, value in found.items()})


def notes_on(numbers: Mapping[str, float]) -> tuple[str, ...]:
    """Return a note for each number that is not finite."""
    return tuple(f"{name} is {float(value)}" for name, value in numbers.items() if not math.isfinite(value))


@dataclass(frozen=True, slots=True)
class CheckpointRef:
    """One immutable checkpoint file in a run's store.

    `size_bytes` and `sha256` (hex) are of the whole file; a file that differs from them is refused.
    """

    name: str
    size_bytes: int
    sha256: str

    def has_content_of(self, other: "CheckpointRef") -> bool:
        """Return whether both references stand for the same bytes."""
        return (self.size_bytes, self.sha256) == (other.size_bytes, other.sha256)


@dataclass(frozen=True)
class Job:
    """What all members of a run have in common: the workload, and where its files are.

    `workload` is the config's section as it stands. `checkpoints_url` is a directory or an fsspec URL.
    """

    run: str
    workload: Mapping[str, Any]
    metric: str
    checkpoints_url: str
    data_root: str | None
    threads: int
    epoch_timeout_s: float | None
    weights: Mapping[str, float] | None = None
    """If `metric` is a weighted sum of the workload's metrics: its terms."""
    steps: int | None = None
    """Optimizer steps of a leg, if its length is not in epochs."""
    seed: int = 0
    """The run's seed, from which the seeds of everything common to members (data, evaluation) are derived."""
    total_epochs: int | None = None
    """Epochs of a line of members from the first generation to the last."""
    data: Mapping[str, str] = field(default_factory=dict)
    """Digest of each split by name; a worker whose data differ takes no part. Empty if unknown."""
    average_half_life: float | None = None
    """Half-life of the parameter average in epochs; None if parameters are evaluated as they are."""
    initial_seed: int | None = None
    """Seed of the parameters that all founders start from; None if each draws its own."""
    longest_leg: int = 1
    """Epochs of the longest leg of the run."""
    members_per_device: int = 1
    """Members that a worker trains at once."""
    stacked: bool = True
    """Whether members that a worker trains at once are computed as one network, if that is possible."""
    workers: int = 1
    """Number of workers that train each member together: a gang."""
    batch_norm: Literal["local", "synchronised"] = "local"
    """Whether a gang's batch norm uses the statistics of each worker's share of a batch, or of the whole
    batch."""
    legs: int = 1
    """Maximum number of legs of a life."""
    target: Mapping[str, Any] | None = None
    """If `metric` is the cost of reaching a target: see `evodevo.config_objective.Target.for_workers`."""
    member_time_s: float | None = None
    """Seconds of training after which a life ends."""
    edition: str = ""
    """New each time the run starts or resumes, so that workers check whether modules were edited."""
    ploidy: int = 1
    """Networks of a member; a time limit is that of one network."""
    losses_per_epoch: int = 0
    """Maximum number of training losses that are reported from within each epoch."""
    accounts: bool = False
    """Whether metrics include `parameters`, their number, and `flops`, those of the training so far."""

    @property
    def ends_early(self) -> bool:
        """Whether a life may end in the middle of an epoch."""
        return self.target is not None or self.member_time_s is not None

    def leg_timeout_s(self, epochs: int) -> float | None:
        """Return the seconds after which training a leg is aborted; the limit is per epoch of a network."""
        return self.epoch_timeout_s and self.epoch_timeout_s * epochs * self.ploidy


@dataclass(frozen=True, slots=True)
class NetworkStart:
    """What one of several networks of a member starts a leg from; see `Assignment`."""

    parent: CheckpointRef | None
    epoch: int
    training_seed: int
    hyperparameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Assignment:
    """One attempt at one leg of a member's life.

    `parent` is the checkpoint to start from (parent α's or, after the first leg, the member's own), or None
    for a fresh start; `epoch` is how many epochs its parameters have been trained, so the first is 0.
    Attempts are numbered from 1 through the whole life.
    """

    member: str
    attempt: int
    hyperparameters: Mapping[str, Any]
    parent: CheckpointRef | None
    epoch: int
    training_seed: int
    leg: int = 0
    epochs: int = 1
    """Length of the leg, unless the job gives it in steps."""
    mean_of: tuple[CheckpointRef, ...] = ()
    """If given, nothing is trained: the outcome is that of the mean of these checkpoints."""
    remakes: CheckpointRef | None = None
    """If given, the member was trained before, and this checkpoint of it is damaged: it is published under
    the same name if it has the same bytes, and nothing is evaluated."""
    progress: Mapping[str, float] = field(default_factory=dict)
    """The progress in the outcome of the previous leg; empty at the start of a life."""
    until_step: int | None = None
    """With `remakes`, the step of the life at which the leg ended, if it ended before its full length."""
    networks: tuple[NetworkStart, ...] = ()
    """What each of several networks starts from: the network in the same place of the checkpoint `parent`.
    The assignment's own `parent` is then None."""

    @property
    def checkpoint_stem(self) -> str:
        return f"{self.member}-a{self.attempt}"

    @property
    def inputs(self) -> tuple[CheckpointRef, ...]:
        """The checkpoints that the attempt starts from, each once."""
        starts = [self.parent, *(one.parent for one in self.networks)]
        return self.mean_of or tuple(dict.fromkeys(ref for ref in starts if ref))

    def with_inputs(self, actual: Callable[[CheckpointRef], CheckpointRef]) -> "Assignment":
        """Return a copy that starts from other checkpoints, which `actual` returns."""
        return replace(
            self,
            parent=self.parent and actual(self.parent),
            mean_of=tuple(map(actual, self.mean_of)),
            networks=tuple(replace(one, parent=one.parent and actual(one.parent)) for one in self.networks),
        )


@dataclass(frozen=True)
class WorkUnit:
    """Assignments of one run that go to a worker together; each result is reported as soon as it exists.

    `since` (seconds since the epoch) is when the run began to wait for workers: it does not account for a
    worker's idle time before that.
    """

    job: Job
    assignments: Sequence[Assignment]
    since: float = 0.0

    def to_text(self) -> str:
        """Return the unit as one text, which nothing on the way to a worker has to parse."""
        assignments = [
            {
                **_fields(one),
                "hyperparameters": dict(one.hyperparameters),
                "progress": dict(one.progress),
                "parent": one.parent and _fields(one.parent),
                "mean_of": [_fields(ref) for ref in one.mean_of],
                "remakes": one.remakes and _fields(one.remakes),
                "networks": [_network_fields(network) for network in one.networks],
            }
            for one in self.assignments
        ]
        return json.dumps({"job": vars(self.job), "assignments": assignments, "since": self.since})

    @classmethod
    def from_text(cls, text: str) -> Self:
        data = json.loads(text)
        assignments = [
            Assignment(
                **{
                    **one,
                    "parent": one["parent"] and CheckpointRef(**one["parent"]),
                    "mean_of": tuple(CheckpointRef(**ref) for ref in one["mean_of"]),
                    "remakes": one["remakes"] and CheckpointRef(**one["remakes"]),
                    "networks": tuple(map(_network, one["networks"])),
                }
            )
            for one in data["assignments"]
        ]
        return cls(Job(**data["job"]), assignments, data["since"])


@dataclass(frozen=True, slots=True)
class EpochLosses:
    """The training losses within an epoch of `steps` steps: the mean of each of consecutive stretches.

    Stretch i, from 0, ends after `steps * (i + 1) // len(means)` steps, so their lengths differ by one at
    most. A mean may be NaN or infinite.
    """

    steps: int
    means: Sequence[float]

    def to_json(self) -> dict[str, Any]:
        return {"steps": self.steps, "means": [_in_json(mean) for mean in self.means]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        means = [float(mean) if isinstance(mean, str) else mean for mean in data["means"]]
        return cls(data["steps"], means)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of an attempt that ran to its end.

    `status` is done, diverged (the objective's metric was NaN or infinite) or failed (the workload raised,
    and `error` is the traceback). Only an outcome that is done has `fom` and `checkpoint`. `seconds` has wait
    (for work, before it), prepare (loading the data, once per process), load, train, eval and save: together
    they are the time that passed on the worker, so save counts only what evaluation and the next member did
    not hide; `hidden_s` is what they hid. If a worker trains several members at once, each has the seconds of
    its own turns; `aside_s` are those of the others between its start and its end. `epochs` has the training
    metrics of each epoch of a longer leg.

    `progress` says how far the life has come, in runs that count it: `steps` (batches), `seconds` of
    training, `flops`, and with a target `in_a_row` (evaluations) and `shortfall`. `over`: the life ends here,
    whatever legs were left.

    `losses` has the losses within each epoch, in runs with `run.losses_per_epoch`.

    `metrics` and `epochs` include values that are not finite (in JSON as text, see `in_json`). `notes` are
    further remarks on the attempt, such as metrics that are not finite, or state that did not fit.
    """

    status: Status
    fom: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    checkpoint: CheckpointRef | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    hidden_s: float = 0.0
    epochs: Sequence[Mapping[str, float]] = ()
    notes: Sequence[str] = ()
    aside_s: float = 0.0
    progress: Mapping[str, float] = field(default_factory=dict)
    over: bool = False
    losses: Sequence[EpochLosses] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data, without the fields that are empty."""
        data: dict[str, Any] = {"status": self.status}
        if self.fom is not None:
            data["fom"] = self.fom
        if self.metrics:
            data["metrics"] = in_json(self.metrics)
        if (ref := self.checkpoint) is not None:
            data["checkpoint"] = {"name": ref.name, "size_bytes": ref.size_bytes, "sha256": ref.sha256}
        if self.seconds:
            data["seconds"] = dict(self.seconds)
        if self.error is not None:
            data["error"] = self.error
        if self.hidden_s:
            data["hidden_s"] = self.hidden_s
        if self.epochs:
            data["epochs"] = [in_json(epoch) for epoch in self.epochs]
        if self.notes:
            data["notes"] = list(self.notes)
        if self.aside_s:
            data["aside_s"] = self.aside_s
        if self.progress:
            data["progress"] = dict(self.progress)
        if self.over:
            data["over"] = True
        if self.losses:
            data["losses"] = [epoch.to_json() for epoch in self.losses]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        ref = data.get("checkpoint")
        return cls(
            STATUSES.get(data["status"], data["status"]),
            data.get("fom"),
            from_json(data.get("metrics", NOTHING)),
            CheckpointRef(ref["name"], ref["size_bytes"], ref["sha256"]) if ref else None,
            from_json(data.get("seconds", NOTHING)),
            data.get("error"),
            data.get("hidden_s", 0.0),
            [from_json(epoch) for epoch in data["epochs"]] if "epochs" in data else (),
            tuple(map(sys.intern, data.get("notes", ()))),
            data.get("aside_s", 0.0),
            from_json(data.get("progress", NOTHING)),
            data.get("over", False),
            [EpochLosses.from_json(epoch) for epoch in data["losses"]] if "losses" in data else (),
        )

    def without_times(self) -> Self:
        """Return the same outcome for a member that no worker has trained."""
        return replace(self, seconds={}, hidden_s=0.0, aside_s=0.0)

    @property
    def busy_s(self) -> float:
        """Seconds that the attempt kept its worker busy, without waiting for work."""
        return sum(self.seconds.values()) - self.seconds.get("wait", 0.0)

    @property
    def there_s(self) -> float:
        """Seconds from the start of the attempt to its end."""
        return self.busy_s + self.aside_s


def _network_fields(network: NetworkStart) -> dict[str, Any]:
    parent = network.parent and _fields(network.parent)
    return {**_fields(network), "hyperparameters": dict(network.hyperparameters), "parent": parent}


def _network(fields: Mapping[str, Any]) -> NetworkStart:
    parent = fields["parent"]
    return NetworkStart(**{**fields, "parent": parent and CheckpointRef(**parent)})


def _fields(record: Assignment | CheckpointRef | NetworkStart) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}
