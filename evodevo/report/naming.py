"""Names of a user's as text for pictures; those that no font of this machine can show are numbered."""

from collections.abc import Iterable
from typing import Any

from evodevo.config import RunConfig
from evodevo.evolution.space import Space
from evodevo.report.fonts import can_draw

LONGEST_NAME, LONGEST_LABEL = 40, 20
METRIC = "figure of merit"


def plain(text: str, instead: str, longest: int = LONGEST_NAME) -> str:
    """A user's text for a picture: no formula, nothing that is no character, not too long.

    `instead` stands for a text that no font can show.
    """
    text = _whole(text)
    if not can_draw(text):
        return instead
    return (text if len(text) <= longest else f"{text[: longest - 1]}…").replace("$", r"\$")


def metric_name(config: RunConfig) -> str:
    """The objective's metric, as words."""
    return plain(config.objective.metric.replace("_", " "), METRIC)


def locus_name(space: Space, name: str) -> str:
    """The name of a locus as it stands; `locus 3` for the third one."""
    return plain(name, f"locus {list(space.loci).index(name) + 1}")


def arm_name(arms: Iterable[str], arm: str) -> str:
    """The name of an arm of a comparison, as words."""
    return plain(arm.replace("_", " "), f"arm {list(arms).index(arm) + 1}")


def labels(locus: Any) -> list[str]:
    """The names of a locus' values; `choice 2` for the second one."""
    return [plain(label, f"choice {at}", LONGEST_LABEL) for at, label in enumerate(locus.labels, 1)]


def numbered(config: RunConfig, arms: Iterable[str] = ()) -> list[tuple[str, str]]:
    """What pictures have instead of names, and the names."""
    names = [(METRIC, config.objective.metric)]
    for at, (name, locus) in enumerate(config.space().loci.items(), 1):
        names.append((f"locus {at}", name))
        names += [(f"locus {at}, choice {choice}", label) for choice, label in enumerate(locus.labels, 1)]
    names += [(f"arm {at}", arm) for at, arm in enumerate(arms, 1)]
    return [(number, name) for number, name in names if not can_draw(_whole(name))]


def _whole(text: str) -> str:
    """The text, with what is no character written as its code."""
    return text.encode(errors="backslashreplace").decode()
