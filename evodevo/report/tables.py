"""A run as a table with one row per member."""

import csv
import io
from typing import Any

from evodevo.evolution.space import text_of
from evodevo.report.demes import layout_of
from evodevo.report.standing import fitness_by_member
from evodevo.run.history import History
from evodevo.run.life import Life

FORMULA = ("=", "+", "-", "@", "\t", "\r")
SECONDS = ("load", "train", "eval", "save")


def history_rows(history: History) -> list[dict[str, Any]]:
    """Return one row per member born, oldest first; missing values are None.

    Columns: generation, slot, deme (if there are any), member, the three parents, networks (if members have
    several: the parent of each), genomes (if each network has its own), status, fom, fitness, attempt, legs
    (if there can be several), worker, load_s, train_s, eval_s, save_s, wait_s, then hp.<locus> (None if its
    condition does not hold) and metric.<name>; last, if a member has any, notes.
    """
    if not history.generations:
        return []
    space, fitness, layout = history.config.space(), fitness_by_member(history), layout_of(history)
    metrics = sorted({name for life in history.lives() if life.outcome for name in life.outcome.metrics})
    has_notes = any(_notes(life) for life in history.lives())
    rows = []
    for life in history.lives():
        hyperparameters = space.express(life.birth.genome)
        reported = life.outcome.metrics if life.outcome else {}
        rows.append(
            {
                "generation": life.generation,
                "slot": life.slot,
                **({"deme": layout.deme_of(life.slot)} if layout else {}),
                "member": life.id,
                "parent_a": life.birth.parent_a,
                "parent_b": life.birth.parent_b,
                "parent_params": life.birth.parent_params,
                **({"networks": _networks(life)} if history.config.search.ploidy > 1 else {}),
                **({"genomes": _genomes(life)} if history.config.search.genomes != "one" else {}),
                "status": life.status,
                "fom": life.fom,
                "fitness": fitness.get(life.id),
                "attempt": life.losses + (life.started_at is not None),
                **({"legs": sum(1 for _ in life.outcomes())} if history.config.search.legs > 1 else {}),
                "worker": life.worker,
                **_seconds(life),
                **{f"hp.{name}": hyperparameters.get(name) for name in space.loci},
                **{f"metric.{name}": reported.get(name) for name in metrics},
                **({"notes": _notes(life)} if has_notes else {}),
            }
        )
    return rows


def history_csv(history: History) -> str:
    """Return the rows as CSV; floats, including nan and inf, read back unchanged, and lists are JSON."""
    rows = history_rows(history)
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: in_csv(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def in_csv(value: Any) -> Any:
    """Return the value of a cell; text that a spreadsheet would read as a formula gets an apostrophe."""
    text = text_of(value) if isinstance(value, list) else value
    return f"'{text}" if isinstance(text, str) and text.startswith(FORMULA) else text


def _notes(life: Life) -> str | None:
    """Return the distinct notes on all legs; None if there are none."""
    return "; ".join(dict.fromkeys(note for outcome in life.outcomes() for note in outcome.notes)) or None


def _networks(life: Life) -> list[str | None] | None:
    """Return the parent of each network; None for a founder, whose networks are new."""
    parents = [network.parent for network in life.birth.networks]
    return parents if any(parents) else None


def _genomes(life: Life) -> list[Any]:
    """Return the genome of each network of an ensemble."""
    return [dict(network.genome or life.birth.genome) for network in life.birth.networks]


def _seconds(life: Life) -> dict[str, float | None]:
    """Return seconds over all legs, None if not measured; wait_s is from birth to the last leg's start."""
    measured = any(outcome.seconds for outcome in life.outcomes())
    wait = None if life.started_at is None else round(max(0.0, life.started_at - life.born_at), 3)
    return {**{f"{part}_s": life.seconds_of(part) if measured else None for part in SECONDS}, "wait_s": wait}
