"""Distributed tri-parent population-based training on a Dask cluster.

`local`, `connect` and `attach` give a client; `open_run` reads a run's directory; `Schedule` and `load_model`
give what was found.
Each name is imported on first use: a script that reads a schedule does not load the Dask cluster.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evodevo.errors import RunFailed, UsageError
    from evodevo.report.schedule import Schedule
    from evodevo.service.attach import attach
    from evodevo.service.client import Best, Client, Run, connect, local, open_run
    from evodevo.service.export import load_model

__all__ = [
    "Best",
    "Client",
    "Run",
    "RunFailed",
    "Schedule",
    "UsageError",
    "attach",
    "connect",
    "load_model",
    "local",
    "open_run",
]

_HOMES = {
    "RunFailed": "evodevo.errors",
    "UsageError": "evodevo.errors",
    "Schedule": "evodevo.report.schedule",
    "attach": "evodevo.service.attach",
    "load_model": "evodevo.service.export",
    **dict.fromkeys(("Best", "Client", "Run", "connect", "local", "open_run"), "evodevo.service.client"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'evodevo' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
