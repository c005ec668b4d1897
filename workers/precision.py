"""The floating-point type in which a network is trained."""

from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]


def casts_to(precision: Precision | None, device: torch.device) -> torch.dtype | None:
    """Return bfloat16 if forward passes are to be cast to it, and None for float32.

    precision: None means bfloat16 on a GPU that supports it, and float32 otherwise.
    """
    if precision is None:
        has_it = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if has_it else None
    return torch.bfloat16 if precision == "bfloat16" else None
