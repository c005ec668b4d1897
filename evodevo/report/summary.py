"""Summarise a run: the data of summary.json, and the table shown at its end."""

from collections import Counter
from typing import Any

from evodevo.report.account import MEASURED, PARTS, account, workers_at_once
from evodevo.report.demes import deme_facts, deme_text
from evodevo.report.gain import gain_facts, gain_of
from evodevo.report.last_generation import best_of_last
from evodevo.report.savings import savings_of, savings_text
from evodevo.run.events import Soup
from evodevo.run.history import History
from evodevo.run.records import in_json
from evodevo.run.stopping import member_epochs
from evodevo.run.view import brief

SMALLEST_SHARE = 0.005
"""Smaller fractions of the account are omitted from the table."""
MOST_NOTES = 3
"""Maximum number of distinct notes in the table."""


def summary_of(history: History) -> dict[str, Any]:
    """Return the data of summary.json.

    `seconds` are worker seconds: an account (see `report.account`) of `training_s` times `workers`.
    `hidden_save_s` was spent on publishing checkpoints during other work, so it cost no time. `notes`, if
    there are any, map each note to the number of members that have it.
    """
    best, last, notes = history.best, best_of_last(history), _note_counts(history)
    return {
        "name": history.config.run.name,
        "status": history.end or "unfinished",
        "reason": history.reason,
        "metric": history.config.objective.metric,
        "best_fom": best.fom if best else None,
        "best_member": best.id if best else None,
        **({"best_of_last_generation": {"member": last.id, "fom": last.fom}} if last else {}),
        **gain_facts(history),
        "best_metrics": in_json(best.outcome.metrics) if best and best.outcome else {},
        "test_metrics": in_json(history.test),
        **({"soup": _soup_facts(history.soup)} if history.soup else {}),
        "generations": history.completed(),
        "members": len(history.over),
        **_network_facts(history),
        "diverged": sum(life.status == "diverged" for life in history.lives()),
        "failed": sum(life.status == "failed" for life in history.lives()),
        "lost_attempts": history.lost_attempts,
        **savings_of(history),
        **deme_facts(history),
        "elapsed_s": round(history.elapsed_s, 3),
        "training_s": round(history.training_s, 3),
        "workers": workers_at_once(history),
        **({"members_per_worker": at_once} if (at_once := history.config.cluster.at_once) > 1 else {}),
        "seconds": {part: round(value, 3) for part, value in account(history).items()},
        "hidden_save_s": round(sum(at.hidden_s for life in history.births for at in life.outcomes()), 3),
        **({"notes": notes} if notes else {}),
    }


def summary_lines(history: History) -> list[tuple[str, str]]:
    """Return the summary as text, one pair of label and value per line."""
    facts = summary_of(history)
    reason = f": {brief(facts['reason'])}" if facts["reason"] else ""
    lines = [("status", f"{facts['status']}{reason}")]
    if facts["best_member"]:
        lines += _best_lines(history, facts)
    if history.soup:
        lines += _soup_lines(history.soup, facts)
    if history.origin:
        lines.append(("began from", history.origin.text()))
    lines += [
        ("generations", f"{facts['generations']} of {history.config.search.generations}"),
        ("members", _members_text(facts)),
    ]
    if saved := savings_text(facts):
        lines.append(("saved", saved))
    if "demes" in facts:
        lines.append(("demes", deme_text(facts)))
    lines += [
        ("time", f"{facts['elapsed_s']:.1f} s with {_workers_text(facts)} at once"),
        ("spent on", _shares_text(facts["seconds"], facts["hidden_save_s"])),
    ]
    if "notes" in facts:
        lines.append(("notes", _notes_text(facts["notes"])))
    return lines


def _best_lines(history: History, facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the lines about the best member."""
    lines = [(f"best {facts['metric']}", f"{facts['best_fom']:.6g} (member {facts['best_member']})")]
    if text := _last_generation_text(facts):
        lines.append(("  in the last generation", text))
    if gain := gain_of(history):
        lines.append(("  from the given values", gain.text()))
    for name, value in facts["best_metrics"].items():
        if name != facts["metric"]:
            lines.append((f"  {name}", f"{float(value):.6g}"))
    for name, value in facts["test_metrics"].items():
        lines.append((f"  {name}", f"{float(value):.6g} (never selected by)"))
    return lines


def _last_generation_text(facts: dict[str, Any]) -> str:
    """Return the best of the last generation as text; empty if the facts have none."""
    last = facts.get("best_of_last_generation")
    return f"{last['fom']:.6g} (member {last['member']})" if last else ""


def _network_facts(history: History) -> dict[str, int]:
    """Return the cost of ensembles in network-epochs (epochs of one network); empty for single networks."""
    ploidy = history.config.search.ploidy
    if ploidy == 1:
        return {}
    return {"networks_per_member": ploidy, "network_epochs": ploidy * member_epochs(history)}


def _workers_text(facts: dict[str, Any]) -> str:
    """Return the number of workers, and of members at once on each, as text."""
    members = facts.get("members_per_worker")
    return f"{facts['workers']} x {members} members" if members else str(facts["workers"])


def _soup_facts(soup: Soup) -> dict[str, Any]:
    """Return the soup's entry in summary.json."""
    return {
        "of": list(soup.of),
        "fom": soup.fom,
        "metrics": in_json(soup.metrics),
        "test_metrics": in_json(soup.test),
    }


def _soup_lines(soup: Soup, facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the lines about the soup."""
    count = len(soup.of)
    made_of = f"the mean of {count} members" if count > 1 else "one member, because no mean was better"
    return [
        ("soup", f"{facts['metric']} {soup.fom:.6g} ({made_of})"),
        *((f"  soup {name}", f"{value:.6g} (never selected by)") for name, value in soup.test.items()),
    ]


def _note_counts(history: History) -> dict[str, int]:
    """Return notes on outcomes with their numbers of members, most common first.

    Members that took the outcome of an equal one are skipped.
    """
    found: Counter[str] = Counter()
    for life in (one for one in history.births if not one.same_as):
        found.update(list(dict.fromkeys(note for outcome in life.outcomes() for note in outcome.notes)))
    return dict(found.most_common())


def _notes_text(notes: dict[str, int]) -> str:
    """Return the most common notes with their numbers of members, as text."""
    said = [
        f"{note} ({count} member{'' if count == 1 else 's'})"
        for note, count in list(notes.items())[:MOST_NOTES]
    ]
    more = [f"{len(notes) - MOST_NOTES} more in summary.json"] if len(notes) > MOST_NOTES else []
    return "; ".join([*said, *more])


def _members_text(facts: dict[str, Any]) -> str:
    """Return the number of members, and of those that had trouble, as text."""
    troubles = [
        f"{label} {facts[key]}"
        for key, label in (("diverged", "diverged"), ("failed", "failed"), ("lost_attempts", "attempts lost"))
        if facts[key]
    ]
    if (networks := facts.get("networks_per_member")) is not None:
        troubles.insert(0, f"each of {networks} networks ({facts['network_epochs']:,} network-epochs)")
    return ", ".join([str(facts["members"]), *troubles])


def _shares_text(seconds: dict[str, float], hidden_s: float) -> str:
    """Return the parts of the workers' time in percent, as text."""
    whole = sum(seconds.values()) or 1.0
    shares = ", ".join(
        f"{part.replace('_', '-')} {100 * seconds[part] / whole:.0f} %"
        for part in PARTS
        if part in (*MEASURED, "wait") or seconds[part] / whole >= SMALLEST_SHARE
    )
    return f"{shares} (and {hidden_s:.1f} s of save during training)" if hidden_s >= 0.05 else shares
