"""Compare versions of packages; client, scheduler and workers must agree."""

import functools
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

TESTED = {"dask": ">=2026.8,<2026.9", "distributed": ">=2026.8,<2026.9"}
"""Versions that the tests were run with, of packages whose private parts are used; others may work."""


def own_versions() -> dict[str, str]:
    """Return this process's versions of what must be the same everywhere."""
    return {
        "evodevo": _version("evodevo"),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "dask": _version("dask"),
        "distributed": _version("distributed"),
    }


def differences(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """Return `package ours/theirs` for each package whose versions differ; one that they lack is skipped."""
    return [
        f"{name} {ours[name]}/{theirs[name]}" for name in ours if theirs.get(name, ours[name]) != ours[name]
    ]


@functools.cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


__version__ = _version("evodevo")
