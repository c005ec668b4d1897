"""Count the training that a search from scratch saved: early stops, and members equal to others."""

from collections import Counter
from typing import Any

from evodevo.run.history import History
from evodevo.run.life import Life


def savings_of(history: History) -> dict[str, Any]:
    """Return facts for summary.json; empty if nothing was saved.

    `not_trained_again`: number of members that took the outcome of an equal one. `stopped_early`: number of
    members by the rule that ended them; `saved_epochs` (or `saved_steps`) is what they had left.
    """
    search, facts = history.config.search, dict[str, Any]()
    shared = sum(life.same_as is not None for life in history.lives())
    stopped = {life.id: rule for life in history.lives() if (rule := _rule_of(life))}
    if shared:
        facts["not_trained_again"] = shared
    if stopped:
        facts["stopped_early"] = dict(Counter(stopped.values()))
        steps = search.steps_per_generation
        lives = [history.by_id[member] for member in stopped]
        saved = sum(_left(history, life) * (steps or search.leg_epochs(life.generation)) for life in lives)
        facts["saved_steps" if steps else "saved_epochs"] = saved
    return facts


def _rule_of(life: Life) -> str | None:
    """Return the rule that ended a life, or one of its repeats, before the last leg; else None."""
    return life.stopped or next((leg.stopped for leg in life.legs if leg.stopped), None)


def _left(history: History, life: Life) -> int:
    """Return the number of legs that a rule saved: the rest of stopped repeats, and repeats not begun."""
    legs, begin, left = history.config.search.legs, 0, 0
    ends = [(at + 1, leg.stopped) for at, leg in enumerate(life.legs) if leg.again]
    if life.outcome:
        ends.append((len(life.legs) + 1, life.stopped))
        if life.stopped:
            left = legs * (history.config.objective.repeats - len(ends))
    for end, stopped in ends:
        left += legs - (end - begin) if stopped else 0
        begin = end
    return left


def savings_text(facts: dict[str, Any]) -> str:
    """Return the facts as text; empty if there are none."""
    said = []
    if shared := facts.get("not_trained_again"):
        said.append(f"{_members(shared)} equal to another one and not trained again")
    if stopped := facts.get("stopped_early"):
        unit = "steps" if "saved_steps" in facts else "epochs"
        count, saved = sum(stopped.values()), facts[f"saved_{unit}"]
        said.append(f"{_members(count)} stopped early, which saved {saved:,} {unit}")
    return "; ".join(said)


def _members(count: int) -> str:
    return "1 member was" if count == 1 else f"{count:,} members were"
