"""Seeds for whatever a worker calls of a user's code: from the run's seed and what is being done."""

import hashlib
import random

import numpy as np
import torch


def derived(seed: int, *purpose: object) -> int:
    """Return the seed, in [0, 2**31), for a purpose, such as `derived(run_seed, "data")`."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def seed_all(seed: int, device: torch.device | None = None) -> None:
    """Seed python's, numpy's and torch's global generators: a workload may draw from any of them.

    `torch.manual_seed` would do more, but while CUDA sleeps it keeps a stack trace of each call for ever.
    """
    random.seed(seed)
    np.random.seed(seed)
    if device is None or device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)
