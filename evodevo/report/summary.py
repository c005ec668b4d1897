"""A run in a few numbers: summary.json, and the table that a person sees at its end."""

from typing import Any

from evodevo.report.tables import SECONDS, busy_seconds, most_at_once
from evodevo.run.history import History
from evodevo.run.view import brief


def summary_of(history: History) -> dict[str, Any]:
    """What summary.json holds.

    `seconds` are of workers; `idle` is what `workers` at work did not use. `hidden_save_s` was spent on
    publishing checkpoints while their members were evaluated, so it cost no time.
    """
    best = history.best
    return {
        "name": history.config.run.name,
        "status": history.end or "unfinished",
        "reason": history.reason,
        "metric": history.config.objective.metric,
        "best_fom": best.fom if best else None,
        "best_member": best.id if best else None,
        "best_metrics": dict(best.outcome.metrics) if best and best.outcome else {},
        "test_metrics": dict(history.test),
        "generations": history.completed(),
        "members": sum(life.outcome is not None for life in history.lives()),
        "diverged": sum(life.status == "diverged" for life in history.lives()),
        "failed": sum(life.status == "failed" for life in history.lives()),
        "lost_attempts": sum(len(life.lost) for life in history.lives()),
        "elapsed_s": round(history.elapsed_s, 3),
        "workers": most_at_once(history),
        "seconds": _account(history),
        "hidden_save_s": round(sum(life.outcome.hidden_s for life in history.lives() if life.outcome), 3),
    }


def summary_lines(history: History) -> list[tuple[str, str]]:
    """The summary in words, a pair of label and value a line."""
    facts = summary_of(history)
    reason = f": {brief(facts['reason'])}" if facts["reason"] else ""
    lines = [
        ("status", f"{facts['status']}{reason}"),
        ("generations", f"{facts['generations']} of {history.config.search.generations}"),
        ("members", _members(facts)),
        ("time", f"{facts['elapsed_s']:.1f} s with {facts['workers']} at once"),
        ("spent on", _shares(facts["seconds"], facts["hidden_save_s"])),
    ]
    if facts["best_member"]:
        found = [
            (f"best {facts['metric']}", f"{facts['best_fom']:.6g} (member {facts['best_member']})"),
            *(
                (f"  {name}", f"{value:.6g}")
                for name, value in facts["best_metrics"].items()
                if name != facts["metric"]
            ),
            *(
                (f"  {name}", f"{value:.6g} (never selected by)")
                for name, value in facts["test_metrics"].items()
            ),
        ]
        lines[1:1] = found
    return lines


def _account(history: History) -> dict[str, float]:
    seconds = busy_seconds(history)
    idle = max(0.0, history.elapsed_s * most_at_once(history) - sum(seconds.values()))
    return {part: round(value, 3) for part, value in {**seconds, "idle": idle}.items()}


def _members(facts: dict[str, Any]) -> str:
    troubles = [
        f"{label} {facts[key]}"
        for key, label in (("diverged", "diverged"), ("failed", "failed"), ("lost_attempts", "attempts lost"))
        if facts[key]
    ]
    return ", ".join([str(facts["members"]), *troubles])


def _shares(seconds: dict[str, float], hidden_s: float) -> str:
    whole = sum(seconds.values()) or 1.0
    shares = ", ".join(f"{part} {100 * seconds[part] / whole:.0f} %" for part in (*SECONDS, "idle"))
    return f"{shares} (and {hidden_s:.1f} s of save while evaluating)"
