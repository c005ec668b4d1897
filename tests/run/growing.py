"""A small config whose genomes grow, for runs that train nothing."""

from typing import Any

from evodevo.config import RunConfig
from tests.run.fakes import config_of

BLOCKS: dict[str, Any] = {
    "most": 3,
    "loci": {
        "width": {"type": "choice", "choices": [8, 16, 32, 64]},
        "deep": {"type": "bool"},
        "depth": {"type": "int", "low": 1, "high": 5, "when": {"deep": True}},
    },
}
GROWING: dict[str, Any] = {
    "search__strategy": "variable_length",
    "search__population": 5,
    "search__generations": None,
    "search__phases": {"lengths": [1, 2, 3], "generations": 2},
    "search__epochs_per_generation": 3,
    "search__options": {},
    "search__blocks": BLOCKS,
    "search__loci": {"rate": {"type": "choice", "choices": [0.1, 0.2, 0.3]}},
}


def growing(**changes: Any) -> RunConfig:
    """Return a config with three phases of two generations; `changes`: dotted keys with `__` for the dots."""
    return config_of(**{**GROWING, **changes})
