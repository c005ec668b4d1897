"""Find the import path of a Python object, if workers can import it."""

import importlib
from typing import Any


def import_path(found: Any) -> str | None:
    """Return `module:name` of a function or class, or None if workers cannot import it."""
    module, name = getattr(found, "__module__", None), getattr(found, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module in ("__main__", "__mp_main__"):
        return None
    try:
        there: Any = importlib.import_module(module)
        for part in name.split("."):
            there = getattr(there, part)
    except (ImportError, AttributeError):
        return None
    is_same = there is found or (isinstance(found, type) and isinstance(there, type))  # perhaps edited since
    return f"{module}:{name}" if is_same else None


def label_of(found: Any) -> str:
    """Return the name of a function or class, for messages."""
    name = getattr(found, "__qualname__", None)
    return name if isinstance(name, str) else type(found).__name__
