"""Everything that is made from a run's journal when it ends, or when somebody asks: written to its directory.

history.csv, schedule.yaml, best.safetensors, summary.json, and report/ with PNGs and index.html. They can be
deleted and made again at any time.
"""

import base64
import contextlib
import html
import json
import string
from importlib import resources
from pathlib import Path
from typing import Any

from evodevo.report.plots import fom_plot, schedule_plot
from evodevo.report.schedule import Schedule
from evodevo.report.summary import summary_lines, summary_of
from evodevo.report.tables import history_csv
from evodevo.run import files
from evodevo.run.checkpoints import CheckpointError, CheckpointStore
from evodevo.run.controller import JOURNAL, job_of
from evodevo.run.history import History, load_history


def write_products(directory: Path | str) -> list[Path]:
    """Write all products of the run in `directory`; returns their paths."""
    directory = Path(directory)
    history = load_history(directory / JOURNAL)
    report = directory / "report"
    report.mkdir(exist_ok=True)
    products: dict[Path, bytes] = {
        directory / "history.csv": history_csv(history).encode(),
        directory / "summary.json": (json.dumps(summary_of(history), indent=2) + "\n").encode(),
    }
    best = history.best
    if best is not None:
        products[directory / "schedule.yaml"] = Schedule.of(history, best).to_yaml().encode()
        if best.outcome and best.outcome.checkpoint:
            ref = best.outcome.checkpoint
            store = CheckpointStore(job_of(history.config, directory, history.run_id).checkpoints_url)
            with contextlib.suppress(CheckpointError):  # the rest can be had without it
                products[directory / f"best{Path(ref.name).suffix}"] = store.read(ref)
    plots = {"fom": fom_plot(history), "schedule": schedule_plot(history)}
    products |= {report / f"{name}.png": png for name, png in plots.items()}
    products[report / "index.html"] = _page(history, plots).encode()
    for path, data in products.items():
        files.replace(path, data)
    return list(products)


def _page(history: History, plots: dict[str, bytes]) -> str:
    """One HTML file with its pictures inside, so that it can be sent to somebody."""
    template = string.Template(resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    failures = [life for life in history.lives() if life.status == "failed" and life.outcome]
    return template.substitute(
        name=html.escape(history.config.run.name),
        summary=_rows(summary_lines(history)),
        pictures="\n".join(
            f'<img alt="{name}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
            for name, png in plots.items()
        ),
        failures="\n".join(
            f"<h3>{life.id}</h3><pre>{html.escape(life.outcome.error or '')}</pre>"
            for life in failures[:20]
            if life.outcome
        )
        or "<p>None.</p>",
        config=html.escape(history.config.to_yaml()),
    )


def _rows(lines: list[tuple[str, Any]]) -> str:
    return "\n".join(
        f"<tr><th>{html.escape(key)}</th><td>{html.escape(str(value))}</td></tr>" for key, value in lines
    )
