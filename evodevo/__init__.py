"""Distributed tri-parent population-based training on a Dask cluster.

`local` and `connect` give a client; `open_run` reads a run's directory; `Schedule` is what was found.
"""

from evodevo.errors import RunFailed, UsageError
from evodevo.report.schedule import Schedule
from evodevo.service.client import Best, Client, Run, connect, local, open_run

__all__ = ["Best", "Client", "Run", "RunFailed", "Schedule", "UsageError", "connect", "local", "open_run"]
