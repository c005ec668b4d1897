"""Convert a run to columns of numbers, for a page that draws it live with a bounded number of points.

About `MOST` members of a large run are shown: the best member's line; the newest generation with its
ancestors, or as many of its α-lines as fit; and a sample of the others, spread evenly over generations and
slots.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evodevo.evolution.demes import Layout
from evodevo.evolution.fitness import Foms, Mode, best_first
from evodevo.report.account import MEASURED, PARTS, worker_accounts
from evodevo.report.demes import Fate, arrivals_of, foms_by_deme, layout_of
from evodevo.report.standing import fitness_by_member, fom_scale, foms_by_generation
from evodevo.run.history import History
from evodevo.run.life import Life
from evodevo.run.view import brief

MOST = 4000
"""Approximate limit for the members, and for the links of each kind, that are drawn."""
MOST_WORKERS = 40
MOST_FAILURES = 200
MIGRANTS = "migrants"
FATES: Mapping[Fate, str] = {
    "died out": "died_out",
    "lives on": "ancestors",
    "led to the best": "best_steps",
}
LONGEST_TEXT = 4000

Columns = Mapping[str, Any]
"""Arrays of floats or lists of strings, all of the same length."""


@dataclass(frozen=True)
class Panel:
    """The axis of a hyperparameter; a choice has `labels`, and its values are 0, 1, ..."""

    locus: str
    scale: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drawing:
    """The figures that a run needs. While it stays equal, only the columns have to be updated."""

    run: str
    metric: str
    mode: str
    independent: bool
    """Whether members are drawn one by one, because the run has no generations."""
    fom_scale: str
    panels: tuple[Panel, ...]
    generations: int
    population: int
    workers: tuple[str, ...]
    demes: int = 0
    """Number of demes; 0 for a single population."""


@dataclass(frozen=True)
class Picture:
    """The data of a run's figures. The groups of columns are:

    fom           generation, best, median, low, high; in a run without generations, of all members so far
    population    generation, slot, place, fom, fitness, children, hp.<locus>: one row per member shown
    best_line     the columns of population for the best member's α-line, founder first
    died_out, ancestors, best_steps
                  x0, y0, x1, y1: from parent α to child, at their generations and places; for lines that
                  ended, lines that lead to the newest generation, and the best member's line
    hyperparameter_parents
                  x0, y0, x1, y1: from parents a and b to child
    demes         generation, best.<deme>; only in a run with demes, like the next ones
    migrants.died_out, migrants.ancestors, migrants.best_steps
                  x0, y0, x1, y1: from the deme of a migrant, at its generation, to the deme in which it is
                  a parent; grouped by the fate of its line
    seconds       worker, and the parts of its account
    failures      member, what, attempt, message, text: newest first

    A member's `place` puts it next to members of its deme with the same α, so that α-lines cross only between
    demes. Values are NaN if unknown: fom and fitness in an unfinished generation, and a hyperparameter whose
    condition does not hold.
    """

    drawing: Drawing
    columns: Mapping[str, Columns]


def picture_of(history: History) -> Picture:
    """Return the picture of a run in its current state."""
    fom = {name: _floats(values) for name, values in foms_by_generation(history).items()}
    seconds = _seconds(history)
    panels = tuple(_panels(history))
    config, layout = history.config, layout_of(history)
    drawing = Drawing(
        run=config.run.name,
        metric=config.objective.metric,
        mode=config.objective.mode,
        independent=not history.in_generations,
        fom_scale=fom_scale(fom["low"], fom["high"]),
        panels=panels,
        generations=config.search.generations,
        population=config.search.population,
        workers=tuple(seconds["worker"]),
        demes=layout.count if layout else 0,
    )
    line = history.line(history.best) if history.best else []
    ancestors = _ancestors(history)
    shown = _shown(history, {life.id for life in line} | _newest_lines(history))
    places = _places(history)
    points = _Points(history, panels, places)
    columns = {
        "fom": fom,
        "population": points.of(shown),
        "best_line": points.of(line),
        **_steps(history, shown, places, ancestors, {life.id for life in line}),
        "seconds": seconds,
        "failures": _failures(history),
        **(_demes(history, layout) if layout else {}),
    }
    return Picture(drawing, columns)


def _panels(history: History) -> Iterable[Panel]:
    for name, locus in history.config.space().loci.items():
        if not locus.evolves:
            continue
        yield Panel(name, "linear" if locus.labels else locus.scale, locus.labels)


def _ancestors(history: History) -> set[str]:
    """Return the ids of the α-ancestors of the newest generation, without its own members."""
    found: set[str] = set()
    for life in history.generations[-1] if history.generations else []:
        parent = history.alpha(life)
        while parent is not None and parent.id not in found:
            found.add(parent.id)
            parent = history.alpha(parent)
    return found


def _newest_lines(history: History) -> set[str]:
    """Return the newest generation with its α-lines, or an even sample of them of about `MOST` members."""
    found: set[str] = set()
    newest = history.generations[-1] if history.generations else []
    for index in sorted(range(len(newest)), key=_spread_out):
        member: Life | None = newest[index]
        while member is not None and member.id not in found:
            found.add(member.id)
            member = history.alpha(member)
        if len(found) >= MOST:
            break
    return found


def _spread_out(index: int) -> int:
    """Return the index with its bits reversed; sorted by it, every prefix is spread evenly over all."""
    return int(f"{index:032b}"[::-1], 2)


def _shown(history: History, wanted: set[str]) -> list[Life]:
    """Return the members to draw, oldest first; the selection changes rarely while the run grows."""
    every = math.ceil(sum(map(len, history.generations)) / MOST)
    return [
        life
        for life in history.lives()
        if every == 1 or (life.slot - life.generation) % every == 0 or life.id in wanted
    ]


def _places(history: History) -> dict[str, int]:
    """Return each member's place in its generation: ordered by the place of its α, then by slot.

    The members of a deme take the places of its slots.
    """
    places: dict[str, int] = {}
    layout = layout_of(history)
    for generation in history.generations:
        blocks: dict[int, list[Life]] = {}
        for life in generation:
            first = layout.slots(layout.deme_of(life.slot)).start if layout else 0
            blocks.setdefault(first, []).append(life)
        known = len(places)
        for first, lives in blocks.items():
            alphas = [history.alpha(life) for life in lives]
            keys = [
                (places.get(alpha.id, known) if alpha else known, life.slot)
                for alpha, life in zip(alphas, lives, strict=True)
            ]
            order = sorted(range(len(lives)), key=keys.__getitem__)
            places.update((lives[index].id, first + place) for place, index in enumerate(order))
    return places


class _Points:
    """Columns of members, computed with shared lookups."""

    def __init__(self, history: History, panels: Sequence[Panel], places: Mapping[str, int]) -> None:
        self._panels = panels
        self._places = places
        self._space = history.config.space()
        self._fitness = fitness_by_member(history)
        self._children = Counter(alpha.id for life in history.lives() if (alpha := history.alpha(life)))

    def of(self, lives: Sequence[Life]) -> Columns:
        return {
            "generation": _floats(life.generation for life in lives),
            "slot": _floats(life.slot for life in lives),
            "place": _floats(self._places[life.id] for life in lives),
            "fom": _floats(math.nan if life.fom is None else life.fom for life in lives),
            "fitness": _floats(self._fitness.get(life.id, math.nan) for life in lives),
            "children": _floats(self._children[life.id] for life in lives),
            **{
                f"hp.{panel.locus}": _floats(self._height(panel, life) for life in lives)
                for panel in self._panels
            },
        }

    def _height(self, panel: Panel, life: Life) -> float:
        genome = life.birth.genome
        if not self._space.active(panel.locus, genome):
            return math.nan
        value: Any = genome[panel.locus]
        return float(self._space.loci[panel.locus].index(value) if panel.labels else value)


def _steps(
    history: History, shown: Sequence[Life], places: Mapping[str, int], ancestors: set[str], best: set[str]
) -> dict[str, Columns]:
    newest = len(history.generations) - 1
    links: dict[str, list[tuple[str, Life]]] = {
        "died_out": [], "ancestors": [], "best_steps": [], "hyperparameter_parents": []
    }  # fmt: skip
    for life in shown:
        birth = life.birth
        alpha = history.alpha(life)
        if alpha is not None:
            lives_on = life.id in ancestors or life.generation == newest
            kind = "best_steps" if life.id in best else "ancestors" if lives_on else "died_out"
            links[kind].append((alpha.id, life))
        givers = {birth.parent_a, birth.parent_b} - {alpha.id if alpha else None, None}
        links["hyperparameter_parents"] += [(giver, life) for giver in sorted(filter(None, givers))]
    every = math.ceil(len(links["hyperparameter_parents"]) / MOST) or 1
    links["hyperparameter_parents"] = links["hyperparameter_parents"][::-every]
    return {
        kind: {
            "x0": _floats(history.by_id[parent].generation for parent, _ in found),
            "y0": _floats(places[parent] for parent, _ in found),
            "x1": _floats(child.generation for _, child in found),
            "y1": _floats(places[child.id] for _, child in found),
        }
        for kind, found in links.items()
    }


def _demes(history: History, layout: Layout) -> dict[str, Columns]:
    """Return the best fom of each deme by generation, and the newest migrations."""
    rows = [
        [_best(foms, history.config.objective.mode) for foms in of_demes]
        for _, of_demes in foms_by_deme(history, layout)
    ]
    arrivals = arrivals_of(history)[-MOST:]
    return {
        "demes": {
            "generation": _floats(range(len(rows))),
            **{f"best.{deme}": _floats(row[deme] for row in rows) for deme in range(layout.count)},
        },
        **{
            f"{MIGRANTS}.{kind}": {
                "x0": _floats(one.generation - 1 for one in arrivals if one.fate == fate),
                "y0": _floats(one.origin for one in arrivals if one.fate == fate),
                "x1": _floats(one.generation for one in arrivals if one.fate == fate),
                "y1": _floats(one.deme for one in arrivals if one.fate == fate),
            }
            for fate, kind in FATES.items()
        },
    }


def _best(foms: Foms, mode: Mode) -> float:
    """Return the best fom; NaN if there is none yet."""
    return float(foms[best_first(foms, mode)[0]])


def _seconds(history: History) -> Columns:
    """Return each worker's account, the busiest first; workers beyond `MOST_WORKERS` are summed up."""
    spent = {name: worker.seconds for name, worker in worker_accounts(history).items()}
    order = sorted(spent, key=lambda worker: -sum(spent[worker][part] for part in MEASURED))
    shown = order if len(order) <= MOST_WORKERS else order[: MOST_WORKERS - 1]
    rows = {worker.rpartition("://")[2]: spent[worker] for worker in shown}
    if rest := order[len(shown) :]:
        rows[f"{len(rest)} others"] = {
            part: sum(spent[worker][part] for worker in rest) for part in spent[rest[0]]
        }
    return {
        "worker": list(rows),
        **{part: _floats(parts[part] for parts in rows.values()) for part in PARTS},
    }


def _failures(history: History) -> Columns:
    """Return the lost attempts and the failed and diverged members, newest first."""
    rows: list[tuple[str, str, str, str]] = []
    for life in reversed(list(history.lives())):
        if life.outcome and life.outcome.status == "failed":
            rows.append((life.id, "failed", str(life.attempts), life.outcome.error or ""))
        if life.outcome and life.outcome.status == "diverged":
            metric = history.config.objective.metric
            rows.append((life.id, "diverged", str(life.attempts), f"{metric} was NaN or infinite"))
        first = life.losses - len(life.lost) + 1
        rows += [(life.id, "lost", str(n), why) for n, why in reversed(list(enumerate(life.lost, first)))]
        if len(rows) > MOST_FAILURES:
            break
    rows = rows[:MOST_FAILURES]
    return {
        "member": [member for member, _, _, _ in rows],
        "what": [what for _, what, _, _ in rows],
        "attempt": [attempt for _, _, attempt, _ in rows],
        "message": [brief(text) for _, _, _, text in rows],
        "text": [text[-LONGEST_TEXT:] for _, _, _, text in rows],
    }


def _floats(values: Iterable[float]) -> Any:
    return np.array(list(values), dtype=float)
