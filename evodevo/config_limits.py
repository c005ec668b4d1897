"""Define the section `limits` of a config: what a run may use, and which failures it tolerates."""

from pydantic import Field

from evodevo.config_search import Section
from evodevo.config_values import Seconds


class Limits(Section):
    epoch_timeout_s: Seconds | None = None
    """Time limit of an attempt; one that takes longer is ended by restarting its worker, and tried again."""
    wall_time_s: Seconds | None = None
    """Time after which no generation begins; the run is then done."""
    member_epochs: int | None = Field(default=None, ge=1)
    """Epochs, summed over all members, after which no generation begins; the run is then done."""
    member_time_s: Seconds | None = None
    """Training time after which a life ends with its current step; the result at that point counts."""
    max_attempts: int = Field(default=3, ge=1)
    """Attempts at a leg that exceed the time limit or end in an `OSError` of the workload before the member
    has failed. Lost workers and failing disks do not count."""
    confirm_failures: bool = True
    """Whether an exception in a member is confirmed on another worker, if there is one, before it counts."""
    max_lost_workers: int | None = Field(default=None, ge=1)
    """A member fails after losing this many workers in a row, each while it trained alone; null: never."""
    straggler_factor: float | None = Field(default=5.0, gt=1)
    """A member that takes this many times longer than is typical is also started on an idle worker, if there
    is one, and the first result counts. null: never."""
    max_failed_fraction: float = Field(default=0.5, ge=0, le=1)
    """The run stops when more than this fraction of a generation failed; divergence does not count."""
