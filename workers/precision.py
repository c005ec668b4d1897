"""In which type of number a network is trained."""

from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]


def casts_to(precision: Precision | None, device: torch.device) -> torch.dtype | None:
    """Return bfloat16 if forward passes are to be cast to it, and None if they are in float32.

    Without a precision it is bfloat16 on a GPU that has it, and float32 elsewhere.
    """
    if precision is None:
        has_it = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if has_it else None
    return torch.bfloat16 if precision == "bfloat16" else None
