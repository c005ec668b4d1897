"""Names of parameters without the additions of wrappers."""

from torch import nn

COMPILED = "_orig_mod"


def plain(name: str) -> str:
    """Return a parameter's name as in a network that was not compiled."""
    return ".".join(part for part in name.split(".") if part != COMPILED)


def original(model: nn.Module) -> nn.Module:
    """Return the network inside a compiled one, or the network itself if it was not compiled."""
    return getattr(model, COMPILED, model)
