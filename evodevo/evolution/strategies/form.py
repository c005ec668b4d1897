"""Check the attributes of a strategy's class before it is used."""

from typing import get_args

from pydantic import BaseModel

from evodevo.evolution.strategies.base import CommonOptions, Pace, Strategy


def flaw_of(kind: type[Strategy]) -> str | None:
    """Return what is wrong with a strategy's class, and what would be valid; None if nothing is."""
    if lacking := sorted(getattr(kind, "__abstractmethods__", ())):
        return f"it lacks {', '.join(lacking)}"
    known = get_args(Pace)
    if not isinstance(kind.paces, tuple | list) or not kind.paces or set(map(str, kind.paces)) - {*known}:
        return f"paces should be some of {', '.join(known)}, such as ('generations',), not {kind.paces!r}"
    if not (isinstance(kind.Options, type) and issubclass(kind.Options, BaseModel)):
        return f"Options should be a class, such as a subclass of CommonOptions, not {kind.Options!r}"
    if not issubclass(kind.Options, CommonOptions) and kind.founder is Strategy.founder:
        return (
            "Options should be a subclass of CommonOptions, whose options founders need; or override founder"
        )
    least = kind.smallest_population
    if type(least) is not int or least < 1:
        return f"smallest_population should be a whole number of 1 or more, not {least!r}"
    return None
