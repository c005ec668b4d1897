"""A run's progress, where a person is: a notebook, a terminal, or lines of text."""

import sys
from collections.abc import Iterable
from typing import Any

from evodevo import display
from evodevo.console import HarmlessConsole
from evodevo.report.inline import status_html
from evodevo.run.view import Status


def show(statuses: Iterable[Status], dashboard: str | None, progress: bool | None) -> Status:
    """Show each status until there are no more; return the last one.

    `progress`: False shows nothing, True shows it everywhere, None in notebooks and on terminals only.
    """
    if progress is not False and (shell := notebook()) is not None:
        return _in_notebook(statuses, shell)
    console = HarmlessConsole(width=None if sys.stdout and sys.stdout.isatty() else 120)
    quiet = not (console.is_terminal if progress is None else progress)
    return display.show(statuses, dashboard, console, quiet)


def notebook() -> Any:
    """IPython's shell, if it is one whose output can be shown in a notebook; or else None."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell if hasattr(shell, "kernel") else None


def _in_notebook(statuses: Iterable[Status], shell: Any) -> Status:
    from IPython.display import HTML  # type: ignore[import-not-found,unused-ignore]
    from IPython.display import display as show_in_cell

    last, shown, handle = None, "", None
    for last in statuses:
        found = status_html(last)
        if handle is None:
            handle = show_in_cell(HTML(found), display_id=True)
        elif found != shown:
            handle.update(HTML(found))
        shown = found
    assert last is not None
    return last
