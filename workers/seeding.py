"""Seeds for whatever a worker calls of a user's code: from the run's seed and what is being done."""

import contextlib
import hashlib
import random
from collections.abc import Iterator

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


class Randomness:
    """Where all global generators (see `seed_all`) are, for one of several members that take turns."""

    def __init__(self, device: torch.device) -> None:
        self._torch = [torch.default_generator]
        if device.type == "cuda":
            torch.cuda.init()  # type: ignore[no-untyped-call]
            self._torch.append(torch.cuda.default_generators[device.index or 0])
        self.save()

    def save(self) -> None:
        """Remember where the generators are now."""
        self._python, self._numpy = random.getstate(), np.random.get_state()
        self._states = [generator.get_state() for generator in self._torch]

    def restore(self) -> None:
        """Set the generators to where they were when they were saved last."""
        random.setstate(self._python)
        np.random.set_state(self._numpy)
        for generator, state in zip(self._torch, self._states, strict=True):
            generator.set_state(state)

    @contextlib.contextmanager
    def in_force(self) -> Iterator[None]:
        """Go on from where they were saved within the block, and save where that leads to."""
        self.restore()
        try:
            yield
        finally:
            self.save()
