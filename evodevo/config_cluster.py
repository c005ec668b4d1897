"""The section `cluster` of a config: where members are trained."""

import re
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from evodevo.config_search import Section
from evodevo.config_values import Walltime


class Slurm(Section):
    """The worker jobs of `evodevo launch --slurm`; each is one worker, or on a GPU `workers_per_device`."""

    partition: str | None = None
    account: str | None = None
    walltime: Walltime = "04:00:00"
    gpus: int = Field(default=1, ge=0, le=1)
    """Of each job: 1, or 0 to train on the CPU."""
    cpus: int = Field(default=1, ge=1)
    """Of each job: for the training, and for data loaders."""
    memory: str = "8GB"
    min_workers: int = Field(default=1, ge=1)
    max_workers: int = Field(default=8, ge=1)
    """There are never more workers than members to train, either."""
    interface: str | None = None
    """The network interface by which workers and scheduler reach each other, such as ib0."""
    prologue: list[str] = Field(default_factory=list)
    """Lines of shell in each job before its worker starts, such as `module load cuda`."""
    directives: list[str] = Field(default_factory=list)
    """Further options of sbatch, such as `--constraint=a100`."""

    @field_validator("memory")
    @classmethod
    def _is_an_amount(cls, memory: str) -> str:
        if not re.fullmatch(r"0*[1-9]\d*(\.\d+)?\s*[KMGT]i?B", memory):
            raise ValueError(f"{memory!r} should be an amount such as 8GB")
        return memory

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if self.max_workers < self.min_workers:
            raise ValueError(f"max_workers is {self.max_workers}, less than min_workers, {self.min_workers}")
        return self


class Cluster(Section):
    workers: int | Literal["auto"] = "auto"
    """Workers of a local cluster. auto: `workers_per_device` for each GPU, or the cores divided by
    `threads_per_member`, but never more than members to train. An existing cluster has its own number."""
    workers_per_device: int = Field(default=1, ge=1)
    """Workers that share a GPU, of a local cluster and in Slurm's jobs (else EVODEVO_WORKERS_PER_DEVICE)."""
    members_per_device: int | Literal["auto"] = 1
    """Members that a worker trains at once, taking turns; auto is measured before the run begins, on CPU 1.

    A run has the number that was found in its journal.
    """
    stacked: bool | Literal["auto"] = "auto"
    """Whether these are computed as one network, if theirs can be; auto is measured, too, on a GPU.

    A run has what was found in its journal.
    """
    members_per_task: int | Literal["auto"] = "auto"
    """Members that a worker is given at once; auto: as many as make a Dask task last 0.1 s or so.

    Never fewer than it trains at once.
    """
    threads_per_member: int = Field(default=1, ge=1)
    """Torch threads of each member's training on CPU (per worker); part of what makes a run repeatable."""
    workers_per_member: int = Field(default=1, ge=1)
    """Workers that train each member together, each on its share of every batch."""
    batch_norm: Literal["local", "synchronised"] = "local"
    """With several workers per member: whether batch norm sees the share of a batch, or all of it."""
    device: Literal["any", "gpu"] = "any"
    """gpu: workers that see none take no part in the run."""
    slurm: Slurm = Slurm()

    @field_validator("workers", "members_per_device", "members_per_task", mode="before")
    @classmethod
    def _is_auto_or_a_number(cls, count: Any, info: ValidationInfo) -> Any:
        if count == "auto" or (type(count) is int and count >= 1):
            return count
        what = "workers" if info.field_name == "workers" else "members"
        raise ValueError(f"{count!r} should be auto, or the number of {what}, 1 or more")

    @property
    def has_to_be_measured(self) -> bool:
        """Whether how members are trained at once is open."""
        return self.members_per_device == "auto" or (self.members_per_device > 1 and self.stacked == "auto")

    @property
    def at_once(self) -> int:
        """Members that a worker trains at once; 1 if that is to be measured and has not been."""
        return 1 if self.members_per_device == "auto" else self.members_per_device


def problems(cluster: Cluster, command: str | list[str] | None) -> list[str]:
    """Return why members cannot be trained by several workers each as the config says."""
    if cluster.workers_per_member == 1:
        if cluster.batch_norm != "local":
            return ["cluster.batch_norm: counts only with cluster.workers_per_member of 2 or more"]
        return []
    found = []
    if command is not None:
        found.append("cluster.workers_per_member: a program is trained by one worker, which starts it")
    if cluster.members_per_task not in ("auto", 1):
        found.append("cluster.members_per_task: several workers are given one member at a time; leave it out")
    if cluster.members_per_device != 1:
        found.append("cluster.members_per_device: several workers train one member at a time; leave it out")
    if cluster.workers_per_device > 1:
        found.append(
            "cluster.workers_per_device: workers that train one member have a device each; leave it out"
        )
    return found
