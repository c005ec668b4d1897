"""Distributed tri-parent population-based training on a Dask cluster.

`minimise` and `maximise` optimise the arguments of any function. `local`, `connect`, `attach` and `slurm`
return a client; `open_run` reads a run's directory; `Schedule` and `load_model` read a run's results.
Subclass `Workload` (with `Splits`) to add a model, and `Strategy` (with `Birth`) to add a strategy. Each name
is imported on first use, so a script that reads a schedule loads neither Dask nor torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evodevo.config import RunConfig
    from evodevo.errors import RunFailed, UsageError
    from evodevo.evolution.population import Member, Population
    from evodevo.evolution.space import Space
    from evodevo.evolution.strategies import Birth, Strategy
    from evodevo.evolution.strategies.base import CommonOptions
    from evodevo.report.schedule import Schedule
    from evodevo.run.view import Status
    from evodevo.service.attach import attach
    from evodevo.service.client import Client, connect, local, slurm
    from evodevo.service.export import load_model
    from evodevo.service.functions import FunctionResult, maximise, minimise
    from evodevo.service.run_handle import Best, Run, open_run
    from evodevo.versions import __version__
    from workers.workload import Splits, Workload

__all__ = [
    "Best",
    "Birth",
    "Client",
    "CommonOptions",
    "FunctionResult",
    "Member",
    "Population",
    "Run",
    "RunConfig",
    "RunFailed",
    "Schedule",
    "Space",
    "Splits",
    "Status",
    "Strategy",
    "UsageError",
    "Workload",
    "__version__",
    "attach",
    "connect",
    "load_model",
    "local",
    "maximise",
    "minimise",
    "open_run",
    "slurm",
]

_HOMES = {
    "RunConfig": "evodevo.config",
    "RunFailed": "evodevo.errors",
    "UsageError": "evodevo.errors",
    "Schedule": "evodevo.report.schedule",
    "attach": "evodevo.service.attach",
    "load_model": "evodevo.service.export",
    **dict.fromkeys(("FunctionResult", "maximise", "minimise"), "evodevo.service.functions"),
    **dict.fromkeys(("Birth", "Strategy"), "evodevo.evolution.strategies"),
    **dict.fromkeys(("Splits", "Workload"), "workers.workload"),
    **dict.fromkeys(("Client", "connect", "local", "slurm"), "evodevo.service.client"),
    **dict.fromkeys(("Best", "Run", "open_run"), "evodevo.service.run_handle"),
    "Status": "evodevo.run.view",
    "__version__": "evodevo.versions",
    "CommonOptions": "evodevo.evolution.strategies.base",
    "Space": "evodevo.evolution.space",
    **dict.fromkeys(("Member", "Population"), "evodevo.evolution.population"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'evodevo' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
