"""Many runs on one cluster. `dask scheduler --preload evodevo.service [--runs-dir DIR]` loads it."""

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from distributed import Scheduler


SWITCH_INTERVAL_S = 0.0005
"""Between Python threads, instead of 5 ms: the event loop does not wait for a thread that computes."""


@click.command()
@click.option(
    "--runs-dir", default="checkpoints", show_default=True, help="Where runs have their directories."
)
@click.option(
    "--recover/--no-recover", default=True, help="Carry on the unfinished runs that are found there."
)
@click.option(
    "--page-token",
    envvar="EVODEVO_PAGE_TOKEN",
    help="Who knows it can cancel runs on the page; without one nobody can, there.",
)
def dask_setup(scheduler: "Scheduler", runs_dir: str, recover: bool, page_token: str | None) -> None:
    """Called by Dask when the scheduler starts."""
    from evodevo.service.plugin import Service

    sys.setswitchinterval(SWITCH_INTERVAL_S)
    service = Service(scheduler, runs_dir, recover)
    service.install()

    from evodevo.service.page import Pages

    Pages(scheduler, service, page_token).install()
