"""The records that cross process borders: small, frozen, plain data. Weights never do, only references."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

Status = Literal["done", "diverged", "failed"]


@dataclass(frozen=True)
class CheckpointRef:
    """One immutable checkpoint file in a run's store.

    `size_bytes` and `sha256` (hex) are of the whole file; a file that differs from them is refused.
    """

    name: str
    size_bytes: int
    sha256: str


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
    """Where `metric` is a weighted sum of the workload's metrics: its terms."""


@dataclass(frozen=True)
class Assignment:
    """One attempt at one member's epoch.

    `parent` is the checkpoint of parent α, None for a fresh start; `epoch` is the number of epochs that
    its parameters have been trained already, so the first is 0.
    """

    job: Job
    member: str
    attempt: int
    hyperparameters: Mapping[str, Any]
    parent: CheckpointRef | None
    epoch: int
    training_seed: int

    @property
    def checkpoint_stem(self) -> str:
        return f"{self.member}-a{self.attempt}"


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt that ran to its end.

    status: done; diverged (the objective's metric was NaN or infinite); failed (the workload raised, and
    `error` is the traceback). `fom` and `checkpoint` are there when done, and only then. `seconds` has
    load, train, eval and save: together they are the time the worker was taken up, so save counts only
    what evaluation did not hide; `hidden_s` is what it did.
    """

    status: Status
    fom: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    checkpoint: CheckpointRef | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    hidden_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        ref = data["checkpoint"]
        return cls(**{**data, "checkpoint": CheckpointRef(**ref) if ref else None})
