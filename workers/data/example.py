"""An image file and its objects, as returned by the readers of all layouts, and their common helpers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evodevo.errors import UsageError

FETCH = "`git clone https://github.com/Shenggan/BCCD_Dataset DIR/bccd` downloads BCCD for data.root DIR"
Box = tuple[float, float, float, float]
Outline = Sequence[tuple[float, float]]
"""The corners of a polygon, (x, y) each."""


@dataclass
class Example:
    """An image file and its objects, with boxes and outlines in the file's original pixels.

    A box is left, top, right, bottom; an object's outline is None if only its box is known.
    """

    path: Path
    boxes: list[Box] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    ignored: list[bool] = field(default_factory=list)
    outlines: list[Outline | None] = field(default_factory=list)

    def add(self, box: Box, name: str, ignored: bool, outline: Outline | None = None) -> None:
        self.boxes.append(box)
        self.classes.append(name)
        self.ignored.append(ignored)
        self.outlines.append(outline)


def text_of(path: Path) -> str:
    """Return the text of an annotation file; raise `UsageError` if it does not exist."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"data.root: {path.parent} has no {path.name}; {FETCH}") from None


def number_of(value: Any) -> float:
    """Return a coordinate; raise `ValueError` unless it is a finite number."""
    if not math.isfinite(number := float(value)):
        raise ValueError(f"{value!r} is not a coordinate")
    return number
