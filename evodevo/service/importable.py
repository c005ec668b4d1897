"""Whether workers can import what somebody holds in Python, and from where."""

import importlib
from typing import Any


def import_path(found: Any) -> str | None:
    """Return `module:name` if workers can import this function or class, or None."""
    module, name = getattr(found, "__module__", None), getattr(found, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module in ("__main__", "__mp_main__"):
        return None
    try:
        there: Any = importlib.import_module(module)
        for part in name.split("."):
            there = getattr(there, part)
    except (ImportError, AttributeError):
        return None
    is_same = there is found or (isinstance(found, type) and isinstance(there, type))  # edited since, perhaps
    return f"{module}:{name}" if is_same else None


def label_of(found: Any) -> str:
    """Return a name of a function or class for messages."""
    name = getattr(found, "__qualname__", None)
    return name if isinstance(name, str) else type(found).__name__
