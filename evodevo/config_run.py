"""Define the section `run` of a config: its name, its seed, and what is recorded of it."""

from pydantic import Field, field_validator

from evodevo.config_search import Section, check_run_name
from evodevo.config_trackers import Trackers


class Run(Section):
    name: str
    """Name of the run and its directory: letters, digits, `_`, `.` and `-`."""
    seed: int = Field(default=0, ge=0)
    """Seed of all random numbers: the same config and seed give the same history."""
    trackers: Trackers = Field(default_factory=dict)
    """Experiment trackers that follow the run: a list of names, or of {name: {option: value}}."""
    losses_per_epoch: int = Field(default=0, ge=0, le=1000)
    """Number of training losses to record from within each epoch, for trackers: each is the mean over one of
    that many consecutive stretches of the epoch's steps. 0: none."""

    @field_validator("name")
    @classmethod
    def _is_a_file_name(cls, name: str) -> str:
        if name == "slurm":
            raise ValueError("'slurm' is the directory for the output of jobs; choose another name")
        return check_run_name(name)
