"""Names of parameters without what wrappers add to them."""

from torch import nn

COMPILED = "_orig_mod"


def plain(name: str) -> str:
    """Return a parameter's name as it is in a network that was not compiled."""
    return ".".join(part for part in name.split(".") if part != COMPILED)


def original(model: nn.Module) -> nn.Module:
    """Return the network that was compiled; one that was not as it is."""
    return getattr(model, COMPILED, model)
