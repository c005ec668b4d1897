"""Reconstruct a run's migrations between demes, and their outcomes; demes_plot.py draws them.

The journal has no record of migrations: they follow from the members' foms and the layout of the demes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from evodevo.evolution.demes import Layout
from evodevo.evolution.fitness import Foms, as_foms
from evodevo.run.history import History
from evodevo.run.life import Life, Mean

Fate = Literal["died out", "lives on", "led to the best"]


@dataclass(frozen=True)
class Arrival:
    """A migration: `migrant` was a candidate parent for the members of `deme` in `generation`."""

    generation: int
    migrant: Life
    origin: int
    deme: int
    fate: Fate


def layout_of(history: History) -> Layout | None:
    """Return the layout of the demes of a run; None if it has one population."""
    search = history.config.search
    return search.demes.layout(search.population) if search.demes else None


def arrivals_of(history: History) -> list[Arrival]:
    """Return all migrations so far, oldest first.

    The fate says whether a migrant has descendants in the newest generation or among the ancestors of the
    best member, by parameters, or by hyperparameters if members train from scratch.
    """
    layout = layout_of(history)
    if layout is None:
        return []
    newest = _ancestry(history, history.generations[-1] if history.generations else [])
    best = _ancestry(history, [history.best] if history.best else [])
    found = []
    for generation, lives in enumerate(history.generations):
        if not layout.migrates(generation):
            continue
        foms = _foms(history, layout, generation - 1)
        parents = {life.slot: life for life in history.generations[generation - 1]}
        children: dict[int, list[Life]] = {}
        for life in lives:
            if not isinstance(_giver(history, life), Mean):
                children.setdefault(layout.deme_of(life.slot), []).append(life)
        for deme, own in sorted(children.items()):
            for migration in layout.arrivals(deme, foms.__getitem__, history.config.objective.mode):
                migrant = parents[migration.source]
                heirs = {life.id for life in own if migrant.id in _parents(history, life)}
                fate: Fate = "lives on" if heirs & newest else "died out"
                fate = "led to the best" if heirs & best else fate
                found.append(Arrival(generation, migrant, layout.deme_of(migrant.slot), deme, fate))
    return found


def foms_by_deme(history: History, layout: Layout) -> Iterator[tuple[int, list[Foms]]]:
    """Yield each generation with the foms of each deme's members, float64 (size,); NaN if there is none."""
    for generation in range(len(history.generations)):
        yield generation, _foms(history, layout, generation)


def deme_facts(history: History) -> dict[str, Any]:
    """Return facts for summary.json; empty for a run without demes.

    `best_foms`: the best fom of each deme in the whole run, None if no member has a fom. `line`: the demes
    of the best member's α-line, from its founder on.
    """
    layout, demes = layout_of(history), history.config.search.demes
    if layout is None or demes is None:
        return {}
    mode, best = history.config.objective.mode, dict[int, float]()
    for life in history.lives():
        if life.fom is not None:
            deme = layout.deme_of(life.slot)
            best[deme] = (min if mode == "min" else max)(best.get(deme, life.fom), life.fom)
    line = [layout.deme_of(life.slot) for life in history.line(history.best)] if history.best else []
    return {
        "demes": {
            "grid": list(demes.grid),
            "best_foms": [best.get(deme) for deme in range(layout.count)],
            "line": [deme for at, deme in enumerate(line) if at == 0 or deme != line[at - 1]],
            "migrations": len(arrivals_of(history)),
        }
    }


def deme_text(facts: dict[str, Any]) -> str:
    """Return the facts as text."""
    demes = facts["demes"]
    foms = [f"{fom:.6g}" for fom in demes["best_foms"] if fom is not None]
    count, line = demes["migrations"], " → ".join(map(str, demes["line"]))
    said = [f"the best of each: {', '.join(foms)}"] if foms else []
    said += [f"{count} migration{'' if count == 1 else 's'}"] if count else []
    said += [f"the best member's line is of deme {line}"] if line else []
    return f"{' x '.join(map(str, demes['grid']))}; {'; '.join(said)}"


def _foms(history: History, layout: Layout, generation: int) -> list[Foms]:
    by_slot = {life.slot: life.fom for life in history.generations[generation]}
    return [as_foms([by_slot.get(slot) for slot in layout.slots(deme)]) for deme in range(layout.count)]


def _giver(history: History, life: Life) -> Life | None:
    """Return the parameter parent of a member, which may be a mean; None for a founder."""
    return history.by_id.get(life.birth.parent_params or "")


def _parents(history: History, life: Life) -> set[str]:
    """Return the parents by parameters, or by hyperparameters if members train from scratch."""
    if history.inherits:
        alpha = history.alpha(life)
        return {alpha.id} if alpha else set()
    return {parent for parent in (life.birth.parent_a, life.birth.parent_b) if parent is not None}


def _ancestry(history: History, lives: list[Life]) -> set[str]:
    """Return the ids of members and all their ancestors."""
    found: set[str] = set()
    waiting = list(lives)
    while waiting:
        life = waiting.pop()
        if life.id not in found:
            found.add(life.id)
            waiting += [history.by_id[parent] for parent in _parents(history, life)]
    return found
