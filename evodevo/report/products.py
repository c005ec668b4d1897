"""Everything that is made from a run's journal when it ends, or when somebody asks: written to its directory.

history.csv, schedule.yaml, best.safetensors, summary.json, and report/ with PNGs and index.html; of a steady
run evolve.csv, hyp_evolved.yaml and evolve.png in place of the picture of its schedule. They can be deleted
and made again at any time.
"""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

from evodevo.report import web
from evodevo.report.evolution import evolution_products
from evodevo.report.plots import fom_plot, schedule_plot
from evodevo.report.schedule import Schedule
from evodevo.report.summary import summary_lines, summary_of
from evodevo.report.tables import history_csv
from evodevo.run import files
from evodevo.run.checkpoints import CheckpointError, CheckpointStore
from evodevo.run.history import History, load_history
from evodevo.run.setup import EXHIBITS, JOURNAL, job_of


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
            url = job_of(history.config, directory, history.run_id).checkpoints_url
            with contextlib.suppress(CheckpointError):  # the rest can be had without it
                products[directory / f"best{Path(ref.name).suffix}"] = CheckpointStore(url).read(ref)
    products[report / "fom.png"] = fom_plot(history)
    if history.steady:
        products |= {directory / name: data for name, data in evolution_products(history).items()}
    else:
        products[report / "schedule.png"] = schedule_plot(history)
    plots = {path.stem: data for path, data in products.items() if path.suffix == ".png"}
    exhibits = {path.name: path.read_bytes() for path in sorted((directory / EXHIBITS).glob("*"))}
    products[report / "index.html"] = _page(history, plots, exhibits).encode()
    for path, data in products.items():
        files.replace(path, data)
    return list(products)


def _page(history: History, plots: Mapping[str, bytes], exhibits: Mapping[str, bytes]) -> str:
    failures = [life for life in history.lives() if life.status == "failed" and life.outcome]
    parts = [
        web.labelled(summary_lines(history)),
        *(web.picture(name, png) for name, png in plots.items()),
        *(part for name, data in exhibits.items() for part in _exhibit(name, data)),
        web.heading("Failures"),
        *(
            f"<h3>{life.id}</h3>{web.preformatted(life.outcome.error or '')}"
            for life in failures[:20]
            if life.outcome
        ),
        *([] if failures else [web.paragraph("None.")]),
        web.heading("Config"),
        web.preformatted(history.config.to_yaml()),
    ]
    return web.page(history.config.run.name, *parts)


def _exhibit(name: str, data: bytes) -> list[str]:
    """What the workload had to show of the best member: a picture, or text."""
    title = Path(name).stem.replace("_", " ").capitalize()
    shown = web.picture(title, data) if name.endswith(".png") else web.preformatted(data.decode())
    return [web.heading(title), shown]
