"""The program `evodevo`: its exit statuses, and a group that imports a command when it is used."""

import os
import sys
from typing import TYPE_CHECKING

import click

from evodevo.errors import RunFailed, UsageError
from evodevo.harmless import complain
from evodevo.interrupts import remembered_interrupts
from evodevo.run.journal import JournalError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS = {
    "attach": "Install the service in a running scheduler, and prepare its workers.",
    "cancel": "Stop RUN and keep its files.",
    "check": "Check CONFIG and print what it would do, without starting a run.",
    "compare": "Compare several ways to search on the same epochs, validation data and final test.",
    "doctor": "Check whether runs can work on this machine, and say what to do if not.",
    "export": "Write the model that RUN found as a plain state_dict, for use without evodevo.",
    "launch": "Start the run that CONFIG describes and show its progress.",
    "prune": "Delete the checkpoints of RUN that nothing needs; of a finished run, all but the best.",
    "replay": "Train once from scratch along RUN's schedule and compare the result with the original.",
    "report": "Rewrite RUN's tables, schedule, best checkpoint and report/.",
    "resume": "Resume RUN from the end of its journal.",
    "status": "Show the status of RUN, or of all runs.",
    "track": "Send what happens in RUN to TRACKER (tensorboard, mlflow, wandb).",
    "train-best": "Train RUN's fittest genome from scratch until it stops improving, and save the model.",
    "verify": "Check each record and checkpoint of RUN; --repair recreates damaged checkpoints.",
    "watch": "Show the progress of RUN until it ends.",
}
"""Names of the functions in the `cli_*` modules, and the first lines of their docstrings."""


class _Commands(click.Group):
    """A group that lists and completes its commands without importing them, which takes much longer."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        from evodevo import cli_commands, cli_machine, cli_results

        function = name.replace("-", "_")
        homes = (cli_commands, cli_results, cli_machine)
        command: click.Command = next(getattr(home, function) for home in homes if hasattr(home, function))
        return command

    def shell_complete(self, context: click.Context, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        commands = [
            CompletionItem(name, help=about)
            for name, about in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, context, incomplete)]

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


EXIT_STATUSES = """Exit status: 0 if the command did what it says; 1 if a run failed, stopped before its
end or is damaged; 2 for bad usage or a bad config, run or file; 130 if it was interrupted by Ctrl-C."""


@click.group(cls=_Commands, epilog=EXIT_STATUSES)
@click.version_option(package_name="evodevo")
def evodevo() -> None:
    """Evolve a population of neural networks while it trains."""


def main(arguments: list[str] | None = None) -> None:
    """Run the program and exit with a status of `EXIT_STATUSES`."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # for a user's own modules, as on workers
    try:
        with remembered_interrupts():
            evodevo.main(arguments, prog_name="evodevo", standalone_mode=False)
    except (UsageError, JournalError) as why:
        _fail(2, getattr(why, "shell", None) or str(why))
    except OSError as why:
        if why.filename is None:
            raise
        _fail(2, f"{why.filename}: {why.strerror}")
    except click.ClickException as why:
        why.show()
        sys.exit(2)
    except RunFailed as why:
        _fail(1, str(why))
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)


def _fail(code: int, message: str) -> None:
    complain(f"evodevo: {message}")
    sys.exit(code)
