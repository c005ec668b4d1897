"""A steady-state run written by hand."""

from typing import Any

from evodevo.run.events import member_id
from tests.run.fakes import config_of
from tests.run.handmade import Pen


def steady(*foms: float | None, mode: str = "min") -> Pen:
    """A member for each fom, one after the other; None: at work."""
    changes: dict[str, Any] = {"search__options": {}, "objective__mode": mode}
    pen = Pen(config_of(search__strategy="mutate_best", search__population=1, **changes))
    for generation, fom in enumerate(foms):
        pen.births(None)
        if fom is not None:
            pen.done(**{member_id(generation, 0): fom})
    return pen
