"""Write the log files of a genetic search in crayai's format: columns of text, one row per generation."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evodevo.compat.crayai.hpo.params import Params
from evodevo.evolution.fitness import relative_fitness
from evodevo.run.history import History
from evodevo.run.life import Life

SIGMA = 10.0
"""Selection pressure of crayai, whose fitness is exp(-10 x^2) by its logs: 4.5e-05 for the worst."""


class Log:
    """A log with one row per generation in `path`, and one per evaluation in `Deme<n>_<path>`.

    The former has the columns generation, epoch, best_fom (so far), avg_fom, checkpoint_in, checkpoint_out
    and the flags of the best so far; the latter generation, tag, fitness, FoM and the flags. Read both with
    `pandas.read_csv(path, sep=r"\\s+")`.
    """

    def __init__(self, path: Path, demes: int, deme_size: int, params: Params) -> None:
        self._params = params
        self._path, self._size = path, deme_size
        self._demes = [path.with_name(f"Deme{at + 1}_{path.name}") for at in range(demes)]
        flags = [cell(param.flag) for param in params]
        head = ["generation", "epoch", "best_fom", "avg_fom", "checkpoint_in", "checkpoint_out", *flags]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(" ".join(head) + "\n", encoding="utf-8")
        for file in self._demes:
            file.write_text(
                " ".join(["generation", "tag", "fitness", "FoM", *flags]) + "\n", encoding="utf-8"
            )

    def add(self, history: History, generation: int, best: Life, average: float) -> None:
        """Append a complete generation; `best` is the best member so far."""
        parent = history.parent_checkpoint(best)
        own = best.outcome.checkpoint if best.outcome else None
        names = [ref.name if ref else math.nan for ref in (parent, own)]
        row = [generation, generation + 1, best.fom, average, *names, *self._values(history, best)]
        _append(self._path, [row])
        lives = sorted(history.generations[generation], key=lambda life: life.slot)
        fitness = relative_fitness([life.fom for life in lives], "min", SIGMA, "squared")
        for deme, file in enumerate(self._demes):
            own_slots = range(deme * self._size, (deme + 1) * self._size)
            _append(
                file,
                [
                    [
                        generation,
                        tag_of(life, self._size),
                        float(fitness[slot]),
                        math.nan if life.fom is None else life.fom,
                        *self._values(history, life),
                    ]
                    for slot, life in enumerate(lives)
                    if slot in own_slots
                ],
            )

    def _values(self, history: History, life: Life) -> Iterable[Any]:
        return self._params.by_flag(expressed(history, life)).values()


def expressed(history: History, life: Life) -> Mapping[str, Any]:
    """Return a member's hyperparameters."""
    return history.config.space().express(life.birth.genome)


def tag_of(life: Life, deme_size: int) -> str:
    """Return crayai's name of an evaluation, such as `deme1_ind12`, numbered within its deme."""
    deme, at = divmod(life.slot, deme_size)
    return f"deme{deme + 1}_ind{life.generation * deme_size + at}"


def cell(value: Any) -> str:
    """Return a value as text, in quotes if it is empty or has spaces; floats are exact."""
    text = value if isinstance(value, str) else repr(value)
    return json.dumps(text, ensure_ascii=False) if not text or any(map(str.isspace, text)) else text


def _append(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(" ".join(map(cell, row)) + "\n" for row in rows)
