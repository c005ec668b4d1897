"""Seeds for a user's code on a worker, derived from the run's seed and a purpose."""

import contextlib
import hashlib
import random
from collections.abc import Iterator

import numpy as np
import torch


def derived(seed: int, *purpose: object) -> int:
    """Return a seed in [0, 2**31) for a purpose, as in `derived(run_seed, "data")`."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def seed_all(seed: int, device: torch.device | None = None) -> None:
    """Seed the global generators of Python, NumPy and torch, as a workload may draw from any of them.

    On CPU `torch.manual_seed` is avoided: before CUDA is initialised it stores a stack trace of each call.
    """
    random.seed(seed)
    np.random.seed(seed)
    if device is None or device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


class Randomness:
    """The state of all global generators (see `seed_all`) for one of several members that take turns."""

    def __init__(self, device: torch.device) -> None:
        self._torch = [torch.default_generator]
        if device.type == "cuda":
            torch.cuda.init()  # type: ignore[no-untyped-call]
            self._torch.append(torch.cuda.default_generators[device.index or 0])
        self.save()

    def save(self) -> None:
        """Save the generators' present state."""
        self._python, self._numpy = random.getstate(), np.random.get_state()
        self._states = [generator.get_state() for generator in self._torch]

    def restore(self) -> None:
        """Set the generators to the state saved last."""
        random.setstate(self._python)
        np.random.set_state(self._numpy)
        for generator, state in zip(self._torch, self._states, strict=True):
            generator.set_state(state)

    @contextlib.contextmanager
    def in_force(self) -> Iterator[None]:
        """Restore the saved state for the block, and save the state at its end."""
        self.restore()
        try:
            yield
        finally:
            self.save()
