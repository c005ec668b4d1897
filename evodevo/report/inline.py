"""Representations of a run in a notebook: tables, plots and status."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evodevo.errors import UsageError
from evodevo.report import web
from evodevo.report.pictures import draw_all
from evodevo.run import files
from evodevo.run.files import Missing
from evodevo.run.history import History
from evodevo.run.view import Status, troubles

MOST_ROWS = 60
"""Maximum number of rows in a notebook; of a longer table the first and last rows are shown."""


class Rows(list[dict[str, Any]]):
    """A list of one dict per member, with the columns of history.csv."""

    def frame(self) -> Any:
        """Return the rows as a pandas frame. Raises `UsageError` if pandas is not installed."""
        try:
            import pandas as pd
        except ImportError:
            raise UsageError(
                "pandas is not installed: pip install pandas, or use the rows directly"
            ) from None
        return pd.DataFrame(list(self))

    def _repr_html_(self) -> str:
        if not self:
            return web.paragraph("no members yet")
        names = list(self[0])
        shown = [[_cell(row[name]) for name in names] for row in self]
        if len(shown) > MOST_ROWS:
            half = MOST_ROWS // 2
            shown = [*shown[:half], ["…"] * len(names), *shown[-half:]]
        return web.table(names, shown)


class Pictures(dict[str, bytes]):
    """PNGs by name, which a notebook shows one below the other."""

    def save(self, directory: Path | str) -> list[Path]:
        """Write each picture to `directory/NAME.png`; return the paths."""
        paths = {Path(directory, f"{name}.png"): png for name, png in self.items()}
        Path(directory).mkdir(parents=True, exist_ok=True)
        return files.replace_all(paths)

    def _repr_html_(self) -> str:
        return "\n".join(web.picture(name, png) for name, png in self.items())

    def __repr__(self) -> str:
        return f"<plots: {', '.join(self) or 'none'}; a notebook shows them, .save(directory) writes them>"


def pictures_of(history: History) -> Pictures:
    """Return the plots of the report. Raises `UsageError` if one cannot be drawn."""
    found = Pictures()
    for name, png in draw_all(history).items():
        if isinstance(png, Missing):
            raise UsageError(f"{name} cannot be drawn: {png}")
        found[name] = png
    return found


def status_rows(status: Status) -> list[tuple[str, str]]:
    """Return a run's status as labels and values."""
    by_legs = status.legs > 1
    rows = [
        ("run", status.name),
        ("state", status.state),
        ("leg", f"{status.legs_done} of at most {status.legs}")
        if by_legs
        else ("generation", f"{status.generation}/{status.generations}"),
    ]
    if status.population > 1 and status.members_done:
        rows.append(("members", f"{status.members_done}/{status.population}"))
    if status.best_fom is not None:
        rows.append((f"best {status.metric}", f"{status.best_fom:.6g} ({status.best_member})"))
    if status.median_fom is not None:
        rows.append(("median", f"{status.median_fom:.6g}"))
    if found := troubles(status):
        rows.append(("trouble", ", ".join(found)))
    rows.append(("elapsed", f"{status.elapsed_s:.0f} s"))
    if status.remaining_s is not None:
        rows.append(("left, about", f"{status.remaining_s:.0f} s"))
    if status.message:
        rows.append(("message", status.message))
    return rows


def status_html(status: Status) -> str:
    """Return a run's status as an HTML table with a progress bar."""
    done = (
        status.legs_done if status.legs > 1 else status.generation + status.members_done / status.population
    )
    whole = status.legs if status.legs > 1 else status.generations
    bar = f'<progress max="{whole}" value="{min(done, whole):g}"></progress>'
    return f"{web.labelled(status_rows(status))}\n{bar}"


def settings_html(pairs: Sequence[tuple[str, Any]], settings: Mapping[str, Any]) -> str:
    """Return an HTML table of labels and values, and one of hyperparameters."""
    return f"{web.labelled(pairs)}\n{web.labelled(settings.items())}"


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value
