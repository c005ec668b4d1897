"""Define the section `cluster` of a config: where members are trained."""

import re
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from evodevo.config_search import Section
from evodevo.config_values import Walltime


class Slurm(Section):
    """Worker jobs of `evodevo launch --slurm`: one worker each, or `workers_per_device` on a GPU."""

    partition: str | None = None
    """Slurm's partition; its default if not given."""
    account: str | None = None
    """Slurm's account; its default if not given."""
    walltime: Walltime = "04:00:00"
    """Time limit of each job, `hh:mm:ss` or `d-hh:mm:ss`."""
    gpus: int = Field(default=1, ge=0, le=1)
    """GPUs per job: 1, or 0 to train on the CPU."""
    cpus: int = Field(default=1, ge=1)
    """Cores per job, for training and data loaders."""
    memory: str = "8GB"
    """Memory of each job."""
    min_workers: int = Field(default=1, ge=1)
    """Minimum number of jobs."""
    max_workers: int = Field(default=8, ge=1)
    """Maximum number of jobs; up to it, there are as many as the members to train can use."""
    interface: str | None = None
    """Network interface between workers and scheduler, such as ib0."""
    prologue: list[str] = Field(default_factory=list)
    """Shell commands that each job runs before its worker starts, such as `module load cuda`."""
    directives: list[str] = Field(default_factory=list)
    """Other sbatch options, such as `--constraint=a100`."""

    @field_validator("memory")
    @classmethod
    def _is_an_amount(cls, memory: str) -> str:
        if not re.fullmatch(r"0*[1-9]\d*(\.\d+)?\s*[KMGT]i?B", memory):
            raise ValueError(f"{memory!r} should be an amount such as 8GB")
        return memory

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if self.max_workers < self.min_workers:
            raise ValueError(
                f"max_workers ({self.max_workers}) is less than min_workers ({self.min_workers}); raise it"
            )
        return self


class Cluster(Section):
    workers: int | Literal["auto"] = "auto"
    """Workers of a local cluster. auto: `workers_per_device` per GPU, or the number of cores divided by
    `threads_per_member`, but never more than members to train. Ignored on an existing cluster."""
    workers_per_device: int = Field(default=1, ge=1)
    """Workers that share a GPU, in local clusters and Slurm jobs; elsewhere set
    EVODEVO_WORKERS_PER_DEVICE."""
    members_per_device: int | Literal["auto"] = 1
    """Members that a worker trains at once, taking turns. auto: measured before the run begins (1 on a CPU);
    the journal has the number."""
    stacked: bool | Literal["auto"] = "auto"
    """Whether the members that a worker trains at once are computed as one stacked network, if theirs can be.
    auto: measured, on a GPU; the journal has the answer."""
    members_per_task: int | Literal["auto"] = "auto"
    """Members per Dask task, at least as many as the worker trains at once. auto: as many as make a task last
    about 0.1 s."""
    threads_per_member: int = Field(default=1, ge=1)
    """Torch threads per member on a CPU, per worker; results depend on it."""
    workers_per_member: int = Field(default=1, ge=1)
    """Workers that train a member together, each on its share of every batch."""
    batch_norm: Literal["local", "synchronised"] = "local"
    """With several workers per member: whether batch norm uses a worker's share of a batch or all of it."""
    device: Literal["any", "gpu"] = "any"
    """gpu: workers without a GPU get no work from this run."""
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
        """Whether `members_per_device` or `stacked` still has to be measured."""
        return self.members_per_device == "auto" or (self.members_per_device > 1 and self.stacked == "auto")

    @property
    def at_once(self) -> int:
        """Members that a worker trains at once; 1 while that is still to be measured."""
        return 1 if self.members_per_device == "auto" else self.members_per_device


def problems(cluster: Cluster, command: str | list[str] | None) -> list[str]:
    """Return why members cannot be trained by several workers each as configured."""
    if cluster.workers_per_member == 1:
        if cluster.batch_norm != "local":
            return [
                "cluster.batch_norm: has no effect; leave it out, or set cluster.workers_per_member above 1"
            ]
        return []
    found = []
    if command is not None:
        found.append("cluster.workers_per_member: one worker runs a program (workload.command); leave it out")
    if cluster.members_per_task not in ("auto", 1):
        found.append("cluster.members_per_task: several workers train one member at a time; leave it out")
    if cluster.members_per_device != 1:
        found.append("cluster.members_per_device: several workers train one member at a time; leave it out")
    if cluster.workers_per_device > 1:
        found.append(
            "cluster.workers_per_device: workers that train one member have a device each; leave it out"
        )
    return found
