"""Import a user's modules again after their files were edited.

A module is compared by the digest of its file. If it or a module that it imports has changed, all of them are
removed from `sys.modules`, so the next import reads the files. Existing objects of the old modules (a running
workload, a strategy) stay as they are.
"""

import ast
import contextlib
import functools
import hashlib
import importlib
import importlib.util
import os
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import psutil

OURS = ("evodevo", "workers")
IMPORT_PATH = re.compile(r"([A-Za-z_][\w.]*):[A-Za-z_][\w.]*\Z")

_digests: dict[str, str] = {}
"""Digests of the files of loaded modules, taken when they were imported."""


def refresh(given: Any) -> bool:
    """Forget the modules of the import paths in `given`, and those they import, if one of them was edited.

    `given`: data in which texts may be `module:name`. Returns whether modules were forgotten. Those of
    installed packages never are.
    """
    found = _family(_modules_in(given))
    if not any(map(_is_edited, found)):
        return False
    for name in found:
        file = sys.modules.pop(name).__file__ or ""
        _digests.pop(name, None)
        # Python decides by whole seconds and size alone whether this cache is up to date
        with contextlib.suppress(OSError, NotImplementedError):
            os.unlink(importlib.util.cache_from_source(file))
    importlib.invalidate_caches()
    return True


def remember(given: Any) -> None:
    """Record the digests of the modules of the import paths in `given`, right after they were imported."""
    for name in _family(_modules_in(given)):
        _digests.setdefault(name, _digest_of(name))


def _modules_in(given: Any) -> Iterator[str]:
    if isinstance(given, str):
        if found := IMPORT_PATH.match(given):
            yield found[1]
    elif isinstance(given, Mapping | list | tuple):
        for one in given.values() if isinstance(given, Mapping) else given:
            yield from _modules_in(one)


def _family(names: Iterable[str]) -> list[str]:
    """Return the given modules and those that they import, if they are loaded and the user's own."""
    found: dict[str, None] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found and _is_own(name):
            found[name] = None
            waiting += _imported_by(name)
    return list(found)


def _is_own(name: str) -> bool:
    file = getattr(sys.modules.get(name), "__file__", None)
    if not isinstance(file, str) or not file.endswith(".py") or name.partition(".")[0] in (*OURS, "__main__"):
        return False
    return not os.path.abspath(file).startswith(_installed())


@functools.cache
def _installed() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple(f"{paths[key]}{os.sep}" for key in ("stdlib", "platstdlib", "purelib", "platlib"))


def _imported_by(name: str) -> Iterator[str]:
    """Yield the names of what a module's source imports: modules, and names in them that may be modules."""
    try:
        tree = ast.parse(_source_of(name))
    except (OSError, SyntaxError, ValueError):
        return
    package = getattr(sys.modules[name], "__package__", "") or ""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: 1 - node.level or None] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (module, *(f"{module}.{alias.name}" for alias in node.names))


def _is_edited(name: str) -> bool:
    """Return whether a module was edited; one without a digest is compared with this process's start time."""
    if name in _digests:
        return _digests[name] != _digest_of(name)
    try:
        began: float = psutil.Process().create_time()
        return os.path.getmtime(sys.modules[name].__file__ or "") > began
    except OSError:
        return False


def _digest_of(name: str) -> str:
    try:
        return hashlib.sha256(_source_of(name)).hexdigest()
    except OSError:
        return "gone"


def _source_of(name: str) -> bytes:
    with open(sys.modules[name].__file__ or "", "rb") as file:
        return file.read()
