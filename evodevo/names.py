"""Detect a user's modules that hide evodevo's packages, before a worker imports them."""

import importlib.machinery
import importlib.util
import os
from pathlib import Path

from evodevo.errors import UsageError

MARKS = {"evodevo": "cli.py", "workers": "preload.py"}
"""Our packages, and for each a file that identifies it, also in another copy of this program."""


def check_names() -> None:
    """Raise `UsageError` if a user's file hides one of our packages from this process or its workers.

    Workers and their programs search the current directory and PYTHONPATH first.
    """
    first = [os.getcwd(), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    for name in MARKS:
        found = [importlib.util.find_spec(name)]
        if importlib.machinery.PathFinder.find_spec(name, first) is not None:
            specs = [importlib.machinery.PathFinder.find_spec(name, [place]) for place in first]
            found += [spec for spec in specs if spec is not None and spec.origin is not None]
        for spec in found:
            if spec is not None and not _is_ours(spec, name):
                where = Path(spec.origin or next(iter(spec.submodule_search_locations or [name])))
                where = where.parent if where.name == "__init__.py" else where
                raise UsageError(
                    f"{where} hides evodevo's package {name!r} of the same name "
                    f"({Path(__file__).parents[1] / name}): rename it"
                )


def _is_ours(spec: importlib.machinery.ModuleSpec, name: str) -> bool:
    return any(Path(place, MARKS[name]).is_file() for place in spec.submodule_search_locations or ())
