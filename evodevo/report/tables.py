"""A run as a table, a row a member, and sums over its rows."""

import csv
import io
import itertools
from collections.abc import Mapping
from typing import Any

from evodevo.report.standing import fitness_by_member
from evodevo.run.history import History, Life

SECONDS = ("load", "train", "eval", "save")


def history_rows(history: History) -> list[dict[str, Any]]:
    """A row for every member that was born, oldest first; None where there is nothing to say.

    Columns: generation, slot, member, the three parents, status, fom, fitness, attempt, worker, load_s,
    train_s, eval_s, save_s, wait_s, then hp.<locus> (None where its condition does not hold) and
    metric.<name>.
    """
    if not history.generations:
        return []
    space, fitness = history.config.space(), fitness_by_member(history)
    metrics = sorted({name for life in history.lives() if life.outcome for name in life.outcome.metrics})
    rows = []
    for life in history.lives():
        hyperparameters = space.express(life.birth.genome)
        reported = life.outcome.metrics if life.outcome else {}
        rows.append(
            {
                "generation": life.generation,
                "slot": life.slot,
                "member": life.id,
                "parent_a": life.birth.parent_a,
                "parent_b": life.birth.parent_b,
                "parent_params": life.birth.parent_params,
                "status": life.status,
                "fom": life.fom,
                "fitness": fitness.get(life.id),
                "attempt": life.attempts,
                "worker": life.worker,
                **_seconds(life),
                **{f"hp.{name}": hyperparameters.get(name) for name in space.loci},
                **{f"metric.{name}": reported.get(name) for name in metrics},
            }
        )
    return rows


def history_csv(history: History) -> str:
    """The rows as CSV; floats are written so that they read back the same."""
    rows = history_rows(history)
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def busy_seconds(history: History) -> dict[str, float]:
    """Seconds of workers, summed over the attempts that count: load, train, eval, save."""
    lives = [life for life in history.lives() if life.outcome]
    return {part: sum(_seconds(life)[f"{part}_s"] or 0.0 for life in lives) for part in SECONDS}


def most_at_once(history: History) -> int:
    """The largest number of members that were on workers at one time."""
    changes = []
    for life in history.lives():
        if life.outcome and life.started_at is not None:
            changes.append((life.started_at, 1))
            changes.append((life.started_at + sum(life.outcome.seconds.values()), -1))
    return max(itertools.accumulate(change for _, change in sorted(changes)), default=0)


def _seconds(life: Life) -> dict[str, float | None]:
    spent: Mapping[str, float] = life.outcome.seconds if life.outcome else {}
    wait = None if life.started_at is None else round(max(0.0, life.started_at - life.born_at), 3)
    return {**{f"{part}_s": spent.get(part) for part in SECONDS}, "wait_s": wait}
