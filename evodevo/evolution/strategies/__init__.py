"""List the strategies by name. Each module has one algorithm; `base.Strategy` is their base."""

import importlib
import weakref
from difflib import get_close_matches

from evodevo import installed
from evodevo.evolution.population import Birth, Member, Population
from evodevo.evolution.strategies.base import Pace, Strategy
from evodevo.evolution.strategies.form import flaw_of
from evodevo.evolution.strategies.mutate_best import MutateBest
from evodevo.evolution.strategies.natural_selection import NaturalSelection
from evodevo.evolution.strategies.random_search import RandomSearch
from evodevo.evolution.strategies.replay import Replay
from evodevo.evolution.strategies.scheduled import Scheduled
from evodevo.evolution.strategies.tri_parent import TriParent
from evodevo.evolution.strategies.truncation_ga import TruncationGA
from evodevo.evolution.strategies.truncation_pbt import TruncationPBT
from evodevo.evolution.strategies.variable_length import VariableLength
from evodevo.evolution.strategies.vose2019 import Vose2019

__all__ = ["STRATEGIES", "Birth", "Member", "Pace", "Population", "Strategy", "find", "name_of"]

STRATEGIES: dict[str, type[Strategy]] = {
    "tri_parent": TriParent,
    "vose2019": Vose2019,
    "truncation_pbt": TruncationPBT,
    "random_search": RandomSearch,
    "scheduled": Scheduled,
    "mutate_best": MutateBest,
    "natural_selection": NaturalSelection,
    "truncation_ga": TruncationGA,
    "variable_length": VariableLength,
    "replay": Replay,
}


_given: weakref.WeakValueDictionary[str, type[Strategy]] = weakref.WeakValueDictionary()
"""Classes that cannot be imported, by the names that `name_of` gave them."""


def find(name: str) -> type[Strategy]:
    """Return a strategy by its name, ours or another package's, or by its import path `module:Class`.

    Raises `ValueError` with the known names, or with the reason for which the import failed.
    """
    if name in STRATEGIES:
        return STRATEGIES[name]
    if given := _given.get(name):
        return given
    path = name if ":" in name else installed.path_of(installed.STRATEGIES, name)
    if path is None:
        names = [*dict.fromkeys([*STRATEGIES, *installed.names(installed.STRATEGIES)])]
        near = get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}? Known" if near else "known"
        raise ValueError(
            f"no strategy {name!r}; {hint}: {', '.join(names)}; or give an import path, module:Class"
        )
    module, _, attribute = path.partition(":")
    loaded = None
    try:
        loaded = importlib.import_module(module)
        found = getattr(loaded, attribute)
    except (Exception, SystemExit) as why:  # a user's module may raise anything
        at = "" if path == name else f" ({path})"
        near = get_close_matches(attribute, dir(loaded), n=1) if loaded else []
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"cannot import {name!r}{at}: {type(why).__name__}: {why}{hint}") from why
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise ValueError(f"{name!r} is not a subclass of evodevo.Strategy")
    if flaw := flaw_of(found):
        raise ValueError(f"{name!r} is not a valid strategy: {flaw}")
    return found


def name_of(kind: type[Strategy]) -> str:
    """Return a name by which `find` finds a class in this process, even if it cannot be imported."""
    for name, known in STRATEGIES.items():
        if known is kind:
            return name
    path = f"{kind.__module__}:{kind.__qualname__}"
    try:
        if find(path) is kind:
            return path
    except ValueError:
        pass
    name = f"{kind.__qualname__} (of {kind.__module__})"
    _given[name] = kind
    return name
