"""What a run may use up, and what it puts up with: `limits`."""

from pydantic import Field

from evodevo.config_search import Section
from evodevo.config_values import Seconds


class Limits(Section):
    epoch_timeout_s: Seconds | None = None
    """An attempt that takes longer is ended, by restarting its worker, and tried again."""
    wall_time_s: Seconds | None = None
    """No generation begins after the run has worked for so long; the run is then done."""
    member_epochs: int | None = Field(default=None, ge=1)
    """No generation begins after so many epochs of training, those of all members; the run is then done."""
    member_time_s: Seconds | None = None
    """Seconds of training after which a life ends, with the step at hand: it counts with what it has."""
    max_attempts: int = Field(default=3, ge=1)
    """Attempts at a leg that overrun the time or end in an `OSError` of the workload's, before its member has
    failed. Lost workers and failing disks do not count."""
    confirm_failures: bool = True
    """What a member raises is tried once on another worker, if there is one, before it is believed."""
    max_lost_workers: int | None = Field(default=None, ge=1)
    """A member fails that has lost so many workers in a row, each alone; null: it is tried for ever."""
    straggler_factor: float | None = Field(default=5.0, gt=1)
    """A member whose worker takes so many times as long as is typical is also started on an idle worker, if
    there is one: the first result counts. null: it is waited for."""
    max_failed_fraction: float = Field(default=0.5, ge=0, le=1)
    """The run stops when more than this part of a generation failed (divergence does not count)."""
