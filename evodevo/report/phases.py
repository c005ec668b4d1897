"""Describe the phases before a run, for the report of the last one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evodevo.config_phases import run_names
from evodevo.errors import UsageError
from evodevo.evolution.space import text_of
from evodevo.report import web
from evodevo.report.plots import drawn, fom_plot
from evodevo.run.history import History, load_history
from evodevo.run.journal import JournalError
from evodevo.run.setup import JOURNAL


@dataclass(frozen=True)
class PhaseFacts:
    """A phase and its history, which is None if its journal is gone."""

    run: str
    history: History | None

    def to_json(self) -> dict[str, Any]:
        if self.history is None:
            return {"run": self.run, "status": "gone"}
        config, best = self.history.config, self.history.best
        loci = config.search.loci
        genome = best.birth.genome if best else {}
        return {
            "run": self.run,
            "status": self.history.end or "unfinished",
            "strategy": config.search.strategy,
            "from_scratch": not self.history.inherits,
            "metric": config.objective.metric,
            "best_fom": best.fom if best else None,
            "best_member": best.id if best else None,
            "members": len(self.history.over),
            "elapsed_s": round(self.history.elapsed_s, 3),
            "found": {name: genome[name] for name in loci if loci[name].evolves and name in genome},
            "fixed": {name: locus.initial for name, locus in loci.items() if not locus.evolves},
        }


def phases_of(directory: Path, history: History) -> list[PhaseFacts]:
    """Return the phases up to and including the run in `directory`; empty if it follows no other."""
    at = history.config.phase
    if not at:
        return []
    before = [PhaseFacts(run, _history(directory.with_name(run))) for run in run_names(history.config)[:at]]
    return [*before, PhaseFacts(directory.name, history)]


def phases_section(phases: Sequence[PhaseFacts]) -> list[str]:
    """Return a table of the phases, and a picture of each but the last, as HTML."""
    if not phases:
        return []
    headings = ["run", "status", "strategy", "members", "best", "best values", "fixed"]
    pictures = [
        web.picture(phase.run, drawn(_picture(phase.history))) for phase in phases[:-1] if phase.history
    ]
    return [web.heading("Phases"), web.table(headings, map(_row, phases)), *pictures]


def _row(phase: PhaseFacts) -> list[Any]:
    told = phase.to_json()
    fom = told.get("best_fom")
    strategy = told.get("strategy", "") + (", from scratch" if told.get("from_scratch") else "")
    best = "" if fom is None else f"{told['metric']} {fom:.6g}"
    values = [_values(told.get(key, {})) for key in ("found", "fixed")]
    return [phase.run, told["status"], strategy, told.get("members", ""), best, *values]


def _picture(history: History) -> Callable[[], bytes]:
    return lambda: fom_plot(history)


def _values(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {text_of(value)}"
        for name, value in values.items()
    )


def _history(directory: Path) -> History | None:
    try:
        return load_history(directory / JOURNAL)
    except (JournalError, UsageError, OSError):
        return None
