"""Write everything that is derived from a run's journal to its directory, at its end or on request.

These are history.csv, schedule.yaml, best.safetensors, soup.safetensors, summary.json, and report/ with
index.html and PNGs (pareto.png if members differ in size, demes.png if there are demes). If members train
from scratch, evolve.csv, hyp_evolved.yaml and evolve.png are added. All files can be deleted and written
again at any time.
"""

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from evodevo.errors import UsageError
from evodevo.report import web
from evodevo.report.evolution import evolve_csv, hyp_evolved_yaml
from evodevo.report.naming import numbered, words
from evodevo.report.phases import PhaseFacts, phases_of, phases_section
from evodevo.report.pictures import draw_all
from evodevo.report.schedule import Schedule
from evodevo.report.summary import summary_lines, summary_of
from evodevo.report.tables import history_csv
from evodevo.run import files
from evodevo.run.checkpoints import CheckpointError, CheckpointStore
from evodevo.run.files import Missing
from evodevo.run.history import History, load_history
from evodevo.run.setup import EXHIBITS, JOURNAL, job_of

MOST_NAMED = 20
"""Diverged members that the report names."""


def write_products(directory: Path | str) -> list[Path]:
    """Write all products of the run in `directory`; return their paths. Raises `UsageError`."""
    directory = Path(directory)
    history = load_history(directory / JOURNAL)
    phases = phases_of(directory, history)
    told = {"phases": [phase.to_json() for phase in phases]} if phases else {}
    summary = {**summary_of(history), **told}
    report = directory / "report"
    if report.is_symlink():
        raise UsageError(f"{report} is a symbolic link; remove it, so that a report can be written there")
    report.mkdir(exist_ok=True)
    products: dict[Path, bytes | str | Missing] = {
        directory / "history.csv": history_csv(history),
        directory / "summary.json": json.dumps(summary, indent=2) + "\n",
    }
    if history.best:
        products[directory / "schedule.yaml"] = Schedule.of(history, history.best).to_yaml()
    if not history.inherits and history.best:
        products[directory / "evolve.csv"] = evolve_csv(history)
        products[directory / "hyp_evolved.yaml"] = hyp_evolved_yaml(history)
    pictures = draw_all(history)
    for name, png in pictures.items():
        products[(directory if name == "evolve" else report) / f"{name}.png"] = png
    exhibits = {path.name: path.read_bytes() for path in _own_files(directory / EXHIBITS)}
    best = _checkpoints(directory, history)
    missing = [f"{path.name}: {why}" for path, why in best.items() if isinstance(why, Missing)]
    page = _page(history, phases, pictures, exhibits, missing)
    return files.replace_all({**products, **best, report / "index.html": page})


def _own_files(directory: Path) -> list[Path]:
    """Return the regular files of a directory of the run, without following links."""
    if directory.is_symlink():
        return []
    return [path for path in sorted(directory.glob("*")) if path.is_file() and not path.is_symlink()]


def _checkpoints(directory: Path, history: History) -> dict[Path, bytes | Missing]:
    """Return the checkpoints of the best member and the soup, or why they are missing, if there are any."""
    best = history.best.outcome.checkpoint if history.best and history.best.outcome else None
    soup = history.soup.checkpoint if history.soup else None
    url = job_of(history.config, directory, history.run_id).checkpoints_url
    found: dict[Path, bytes | Missing] = {}
    for name, ref in (("best", best), ("soup", soup)):
        if ref is None:
            continue
        path = directory / f"{name}{Path(ref.name).suffix}"
        try:
            found[path] = CheckpointStore(url).read(ref)
        except CheckpointError as why:
            found[path] = Missing(why)
    return found


def _page(
    history: History,
    phases: Sequence[PhaseFacts],
    plots: Mapping[str, bytes | Missing],
    exhibits: Mapping[str, bytes],
    missing: Sequence[str],
) -> str:
    failures = [life for life in history.lives() if life.status == "failed" and life.outcome]
    diverged = [life.id for life in history.lives() if life.status == "diverged"]
    parts = [
        web.labelled(summary_lines(history)),
        *map(web.paragraph, missing),
        *(web.picture(name, png) for name, png in plots.items()),
        *web.legend(numbered(history.config)),
        *(part for name, data in exhibits.items() for part in _exhibit(name, data)),
        *phases_section(phases),
        web.heading("Failures"),
        *(
            f"<h3>{html.escape(life.id)}</h3>{web.preformatted(life.outcome.error or '')}"
            for life in failures[:20]
            if life.outcome
        ),
        *([] if failures or diverged else [web.paragraph("None.")]),
        *([_divergence(diverged, history.config.objective.metric)] if diverged else []),
        web.heading("Config"),
        web.preformatted(history.config.to_yaml()),
    ]
    return web.page(history.config.run.name, *parts)


def _divergence(members: Sequence[str], metric: str) -> str:
    """Return a paragraph that names members that diverged."""
    more = f" and {len(members) - MOST_NAMED} more" if len(members) > MOST_NAMED else ""
    return web.paragraph(
        f"{metric} was NaN or infinite in {len(members)} member{'s' * (len(members) != 1)}, which diverged: "
        f"{', '.join(members[:MOST_NAMED])}{more}."
    )


def _exhibit(name: str, data: bytes) -> list[str]:
    """Return an exhibit of the workload, a picture or text, with its heading."""
    title = words(Path(name).stem).capitalize()
    shown = (
        web.picture(title, data) if name.endswith(".png") else web.preformatted(data.decode(errors="replace"))
    )
    return [web.heading(title), shown]
