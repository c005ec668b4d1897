"""A scheduler preload that hosts many runs on one cluster.

Load it with `dask scheduler --preload evodevo.service [--runs-dir DIR]`.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from distributed import Scheduler


SWITCH_INTERVAL_S = 0.0005
"""Python's thread switch interval; its default, 5 ms, lets a computing thread delay the event loop."""


@click.command()
@click.option("--runs-dir", default="checkpoints", show_default=True, help="Directory for runs.")
@click.option("--recover/--no-recover", default=True, help="Resume the unfinished runs found there.")
@click.option(
    "--page-token-file",
    type=click.Path(exists=True, dir_okay=False),
    help="A file with the page token; the default is the variable EVODEVO_PAGE_TOKEN. The token is needed to "
    "view runs on the page, and allows cancelling them; without a token, runs cannot be cancelled there.",
)
def dask_setup(scheduler: "Scheduler", runs_dir: str, recover: bool, page_token_file: str | None) -> None:
    """Install the service and its page; Dask calls this when the scheduler starts."""
    from evodevo.service.plugin import Service

    sys.setswitchinterval(SWITCH_INTERVAL_S)
    service = Service(scheduler, runs_dir, recover)
    service.install()

    from evodevo.service.page import Pages

    token = Path(page_token_file).read_text() if page_token_file else os.environ.get("EVODEVO_PAGE_TOKEN", "")
    Pages(scheduler, service, token).install()
