"""The records that cross process borders: small, frozen, plain data. Weights never do, only references."""

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

PER_DEVICE = "EVODEVO_WORKERS_PER_DEVICE"
"""The environment variable that tells a worker how many may share its GPU."""

Status = Literal["done", "diverged", "failed"]

STREAM = "evodevo-report"
"""The operation by which workers report on their stream to the scheduler."""

SENT_FUNCTION = "evodevo-function-"
"""Name, before a key, of the worker plugin that carries a function which cannot be imported."""


def in_json(numbers: Mapping[str, float]) -> dict[str, float | str]:
    """Return the numbers as JSON can hold them: what is not finite is "nan", "inf" or "-inf"."""
    return {name: value if math.isfinite(value) else str(float(value)) for name, value in numbers.items()}


def from_json(numbers: Mapping[str, float | str]) -> dict[str, float]:
    """Return what `in_json` was given. Keys are in memory once, not once for each of very many outcomes."""
    return {
        sys.intern(name): float(value) if isinstance(value, str) else value for name, value in numbers.items()
    }


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
        """Whether both stand for the same bytes."""
        return (self.size_bytes, self.sha256) == (other.size_bytes, other.sha256)


@dataclass(frozen=True)
class Job:
    """What is the same for every member of a run: the workload and where its things are.

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
    """Of the run: whatever is not of one member (the data, evaluation) is drawn with seeds made from it."""
    total_epochs: int | None = None
    """Epochs of a line of members from the first generation to the last."""
    data: Mapping[str, str] = field(default_factory=dict)
    """Digest of each split, by its name; a worker whose data differ takes no part. Empty if not known."""
    average_half_life: float | None = None
    """In epochs; None if the parameters are judged as they are."""
    initial_seed: int | None = None
    """Of the parameters that all founders begin with; None if each draws its own."""
    longest_leg: int = 1
    """Epochs of the longest leg of the run."""
    members_per_device: int = 1
    """Members that a worker trains at once."""
    stacked: bool = True
    """Whether these are computed as one network, if theirs can be."""
    workers: int = 1
    """That train each member together: a gang."""
    batch_norm: Literal["local", "synchronised"] = "local"
    """Whether a gang's layers of batch norm have the statistics of a worker's share of a batch, or of all."""
    legs: int = 1
    """Of a life, at the most."""
    target: Mapping[str, Any] | None = None
    """If `metric` is the cost to reach it: see `evodevo.config_objective.Target.for_workers`."""
    member_time_s: float | None = None
    """Seconds of training after which a life is over."""
    edition: str = ""
    """New each time the run starts or resumes, so workers check whether modules were edited."""
    ploidy: int = 1
    """Networks of a member; a time limit is that of one."""
    accounts: bool = False
    """Whether metrics have `parameters`, the number of them, and `flops`, those of the training so far."""

    @property
    def ends_early(self) -> bool:
        """Whether a life may end in the middle of an epoch."""
        return self.target is not None or self.member_time_s is not None

    def leg_timeout_s(self, epochs: int) -> float | None:
        """Seconds after which training a leg is given up: the limit is one per epoch of a network."""
        return self.epoch_timeout_s and self.epoch_timeout_s * epochs * self.ploidy


@dataclass(frozen=True, slots=True)
class NetworkStart:
    """What one of several networks of a member begins a leg with; see `Assignment`."""

    parent: CheckpointRef | None
    epoch: int
    training_seed: int
    hyperparameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Assignment:
    """One attempt at one leg of a member's life.

    `parent` is the checkpoint to start from (parent α's, or after the first leg the member's own), None for
    a fresh start; `epoch` is the number of epochs that its parameters have been trained already, so the
    first is 0. Attempts are numbered from 1 through the whole life.
    """

    member: str
    attempt: int
    hyperparameters: Mapping[str, Any]
    parent: CheckpointRef | None
    epoch: int
    training_seed: int
    leg: int = 0
    epochs: int = 1
    """Length of the leg, unless the job has it in steps."""
    mean_of: tuple[CheckpointRef, ...] = ()
    """If given, nothing is trained: the outcome is that of the mean of these."""
    remakes: CheckpointRef | None = None
    """If given, the member lived before, and this checkpoint of it is damaged: it is published under the same
    name if it has the same bytes, and nothing is evaluated."""
    progress: Mapping[str, float] = field(default_factory=dict)
    """That of the outcome of the leg before; empty at the beginning of a life."""
    until_step: int | None = None
    """With `remakes`, the step of the life with which the leg ended, if it ended before its length."""
    networks: tuple[NetworkStart, ...] = ()
    """If a member has several networks, what each begins with, the one that has its place in the checkpoint
    `parent`; the assignment's own `parent` is None then."""

    @property
    def checkpoint_stem(self) -> str:
        return f"{self.member}-a{self.attempt}"

    @property
    def inputs(self) -> tuple[CheckpointRef, ...]:
        """The checkpoints that it begins with, each once."""
        starts = [self.parent, *(one.parent for one in self.networks)]
        return self.mean_of or tuple(dict.fromkeys(ref for ref in starts if ref))

    def with_inputs(self, actual: Callable[[CheckpointRef], CheckpointRef]) -> "Assignment":
        """Return the same with other checkpoints in the place of those that it begins with."""
        return replace(
            self,
            parent=self.parent and actual(self.parent),
            mean_of=tuple(map(actual, self.mean_of)),
            networks=tuple(replace(one, parent=one.parent and actual(one.parent)) for one in self.networks),
        )


@dataclass(frozen=True)
class WorkUnit:
    """Assignments of one run that go to a worker together; each result comes back as it is there.

    `since` (seconds since the epoch) is when the run began to wait for workers: idle time of a worker before
    that is not this run's.
    """

    job: Job
    assignments: Sequence[Assignment]
    since: float = 0.0

    def to_text(self) -> str:
        """One text, into which nobody on the way to a worker has to look."""
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
class Outcome:
    """What came of an attempt that ran to its end.

    status: done; diverged (the objective's metric was NaN or infinite); failed (the workload raised, and
    `error` is the traceback). `fom` and `checkpoint` are there when done, and only then. `seconds` has wait
    (for work, before it), prepare (loading the data, once a process), load, train, eval and save: together
    they are the time that passed on the worker, so save counts only what evaluation and the next member did
    not hide; `hidden_s` is what they did. Of several members that a worker trains at once each has the
    seconds of its own turns; `aside_s` are those of the others between its beginning and its end. `epochs`
    has the training metrics of each epoch of a longer leg.
    `progress` has how far the life has come, of runs that count it: `steps` (batches), `seconds` of training,
    `flops`, and with a target `in_a_row` (evaluations) and `shortfall`. `over`: the life ends here, whatever
    legs were left.
    `metrics` and `epochs` have what is not finite, too (in JSON as text, see `in_json`). `notes` says what
    else is to be known of the attempt, such as metrics that are not finite, or state that did not fit.
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

    def to_json(self) -> dict[str, Any]:
        """Plain data; what has nothing to say is left out."""
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
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        ref = data.get("checkpoint")
        return cls(
            data["status"],
            data.get("fom"),
            from_json(data.get("metrics", {})),
            CheckpointRef(ref["name"], ref["size_bytes"], ref["sha256"]) if ref else None,
            from_json(data.get("seconds", {})),
            data.get("error"),
            data.get("hidden_s", 0.0),
            [from_json(epoch) for epoch in data["epochs"]] if "epochs" in data else (),
            tuple(map(sys.intern, data.get("notes", ()))),
            data.get("aside_s", 0.0),
            from_json(data.get("progress", {})),
            data.get("over", False),
        )

    def without_times(self) -> Self:
        """The same outcome for a member that no worker has trained."""
        return replace(self, seconds={}, hidden_s=0.0, aside_s=0.0)

    @property
    def busy_s(self) -> float:
        """Seconds that the attempt kept its worker busy, without waiting for work."""
        return sum(self.seconds.values()) - self.seconds.get("wait", 0.0)

    @property
    def there_s(self) -> float:
        """Seconds from the attempt's beginning to its end."""
        return self.busy_s + self.aside_s


def _network_fields(network: NetworkStart) -> dict[str, Any]:
    parent = network.parent and _fields(network.parent)
    return {**_fields(network), "hyperparameters": dict(network.hyperparameters), "parent": parent}


def _network(fields: Mapping[str, Any]) -> NetworkStart:
    parent = fields["parent"]
    return NetworkStart(**{**fields, "parent": parent and CheckpointRef(**parent)})


def _fields(record: Assignment | CheckpointRef | NetworkStart) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}
