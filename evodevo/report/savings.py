"""What a search from scratch did not train: hopeless members to their end, and equal ones twice."""

from collections import Counter
from typing import Any

from evodevo.run.history import History


def savings_of(history: History) -> dict[str, Any]:
    """Return facts for summary.json; nothing if nothing was saved.

    `not_trained_again`: members that have the outcome of an equal one. `stopped_early`: members by the rule
    that ended them; `saved_epochs` (or `saved_steps`) is what these had left.
    """
    search, facts = history.config.search, dict[str, Any]()
    shared = sum(life.same_as is not None for life in history.lives())
    stopped = [life for life in history.lives() if life.stopped]
    if shared:
        facts["not_trained_again"] = shared
    if stopped:
        facts["stopped_early"] = dict(Counter(life.stopped for life in stopped))
        steps = search.steps_per_generation
        left = [(search.legs - 1 - len(life.legs), life.generation) for life in stopped]
        saved = sum(legs * (steps or search.leg_epochs(generation)) for legs, generation in left)
        facts["saved_steps" if steps else "saved_epochs"] = saved
    return facts


def savings_text(facts: dict[str, Any]) -> str:
    """The facts in words; empty if there are none."""
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
