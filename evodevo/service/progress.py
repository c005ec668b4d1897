"""Show a run's progress in a notebook, on a terminal, or as lines of text."""

import sys
from collections.abc import Iterable

from evodevo import display
from evodevo.console import HarmlessConsole
from evodevo.report.inline import status_html
from evodevo.run.view import Status


def show(statuses: Iterable[Status], dashboard: str | None, progress: bool | None) -> Status:
    """Show each status as it arrives; return the last one.

    `progress`: False shows nothing, True always shows it, None only in notebooks and on terminals.
    """
    if progress is not False and in_notebook():
        return _in_notebook(statuses)
    console = HarmlessConsole()
    quiet = not (console.is_terminal if progress is None else progress)
    return display.show(statuses, dashboard, console, quiet)


def in_notebook() -> bool:
    """Return whether this is IPython with a kernel, whose output a notebook shows."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def _in_notebook(statuses: Iterable[Status]) -> Status:
    from IPython.display import display as show_in_cell  # type: ignore[import-not-found,unused-ignore]

    last, shown, handle = None, "", None
    for last in statuses:
        found = status_html(last)
        content = {"text/html": found, "text/plain": display.line(last)}
        if handle is None:
            handle = show_in_cell(content, raw=True, display_id=True)
        elif found != shown:
            handle.update(content, raw=True)
        shown = found
    assert last is not None
    return last
