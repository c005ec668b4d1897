"""Shell completion of runs, files and trackers. Click completes commands and options by itself."""

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from evodevo.run.view import runs_in

DEFAULT_RUNS_DIR = "checkpoints"


def runs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a run in `--runs-dir`, or the path of its directory."""
    if "/" in incomplete:
        return directories(context, parameter, incomplete)
    if context.params.get("scheduler") or context.params.get("scheduler_file"):
        return []  # a scheduler that does not answer would block the shell
    names = runs_in(Path(context.params.get("runs_dir") or DEFAULT_RUNS_DIR))
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def files(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Let the shell complete a file."""
    return [CompletionItem(incomplete, type="file")]


def directories(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Let the shell complete a directory."""
    return [CompletionItem(incomplete, type="dir")]


def trackers(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a tracker, of evodevo's own or of an installed package."""
    from evodevo import installed
    from evodevo.trackers import TRACKERS

    names = [*TRACKERS, *installed.names(installed.TRACKERS)]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
