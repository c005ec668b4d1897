"""Convert user-given names to text for pictures; names that no font can show are numbered."""

from collections.abc import Iterable
from typing import Any

from evodevo.config import RunConfig
from evodevo.evolution.space import Space
from evodevo.report.fonts import can_draw

LONGEST_NAME, LONGEST_LABEL = 40, 20
METRIC = "figure of merit"


def plain(text: str, instead: str, longest: int = LONGEST_NAME) -> str:
    """Return a user's text for a picture, without formulas or invalid characters, and shortened.

    `instead` replaces a text that no font can show.
    """
    text = _whole(text)
    if not can_draw(text):
        return instead
    return (text if len(text) <= longest else f"{text[: longest - 1]}…").replace("$", r"\$")


def words(name: str) -> str:
    """Return a name with spaces for its underscores."""
    return name.replace("_", " ")


def metric_name(config: RunConfig) -> str:
    """Return the name of the objective's metric as words."""
    return plain(words(config.objective.metric), METRIC)


def locus_name(space: Space, name: str) -> str:
    """Return the name of a locus, or `locus 3` for the third one if no font can show it."""
    return plain(name, f"locus {list(space.loci).index(name) + 1}")


def arm_name(arms: Iterable[str], arm: str) -> str:
    """Return the name of an arm of a comparison as words."""
    return plain(words(arm), f"arm {list(arms).index(arm) + 1}")


def labels(locus: Any) -> list[str]:
    """Return the names of a locus' choices, or `choice 2` for the second one if no font can show it."""
    return [plain(label, f"choice {at}", LONGEST_LABEL) for at, label in enumerate(locus.labels, 1)]


def numbered(config: RunConfig, arms: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Return the replaced names as pairs: the text in pictures, and the name."""
    names = [(METRIC, config.objective.metric)]
    for at, (name, locus) in enumerate(config.space().loci.items(), 1):
        names.append((f"locus {at}", name))
        names += [(f"locus {at}, choice {choice}", label) for choice, label in enumerate(locus.labels, 1)]
    names += [(f"arm {at}", arm) for at, arm in enumerate(arms, 1)]
    return [(number, name) for number, name in names if not can_draw(_whole(name))]


def _whole(text: str) -> str:
    """Return the text with invalid characters written as escapes."""
    return text.encode(errors="backslashreplace").decode()
