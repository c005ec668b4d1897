"""The strategies, by name. One algorithm a file; `base.Strategy` is what they have in common."""

import importlib
from difflib import get_close_matches

from evodevo.evolution.population import Birth, Member, Population
from evodevo.evolution.strategies.base import Pace, Strategy
from evodevo.evolution.strategies.mutate_best import MutateBest
from evodevo.evolution.strategies.natural_selection import NaturalSelection
from evodevo.evolution.strategies.random_search import RandomSearch
from evodevo.evolution.strategies.replay import Replay
from evodevo.evolution.strategies.scheduled import Scheduled
from evodevo.evolution.strategies.tri_parent import TriParent
from evodevo.evolution.strategies.truncation_pbt import TruncationPBT
from evodevo.evolution.strategies.vose2019 import Vose2019

__all__ = ["STRATEGIES", "Birth", "Member", "Pace", "Population", "Strategy", "find"]

STRATEGIES: dict[str, type[Strategy]] = {
    "tri_parent": TriParent,
    "vose2019": Vose2019,
    "truncation_pbt": TruncationPBT,
    "random_search": RandomSearch,
    "scheduled": Scheduled,
    "mutate_best": MutateBest,
    "natural_selection": NaturalSelection,
    "replay": Replay,
}


def find(name: str) -> type[Strategy]:
    """The strategy of that name, or the class at the import path `module:Class`.

    Raises `ValueError`, naming the strategies there are, or why the import failed.
    """
    if name in STRATEGIES:
        return STRATEGIES[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        near = get_close_matches(name, STRATEGIES, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(
            f"no strategy {name!r}; {hint}There are {', '.join(STRATEGIES)}, or give an import path, "
            "module:Class"
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as why:  # a user's module may raise anything while it is imported
        raise ValueError(f"cannot import {name!r}: {type(why).__name__}: {why}") from why
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise ValueError(f"{name!r} is not a subclass of evodevo.Strategy")
    return found
