"""Images of whole collisions in the ATLAS detector for the search for RPV supersymmetry, or made-up ones.

The published files of simulated events (Bhimji et al. 2017, "Deep Neural Networks for Physics Analysis on
low-level whole-detector data at the LHC") are train.h5, val.h5 and test.h5, with 412,416, 137,471 and 137,471
events. The group `all_events` of each has, with events along the first dimension, the images `hist` (energy
in the calorimeter), `histEM` (in its electromagnetic part) and `histtrack` (tracks), all (n, 64, 64) by eta
and phi; the labels `y`, 1 for signal and 0 for background; and `weight`, which is not read.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evodevo.errors import UsageError
from workers.workload import Splits

CHANNELS = ("hist", "histEM", "histtrack")
GROUP = "all_events"
FILES = {"train": "train.h5", "validation": "val.h5", "test": "test.h5"}
HOW = "expected: train.h5, val.h5 and, for the test split, test.h5"
SEED = 2017
"""Seed of the made-up events."""


def load(root: str | None, channels: Sequence[str], counts: dict[str, int | None]) -> Splits:
    """Read the first `counts[split]` events (None: all) of the files in `root`, or in its directory `rpv`.

    A split is images, float32 (n, channels, height, width), and labels, float32 (n,). `histEM` and
    `histtrack` are divided by their maximum over the training events, and `hist` is left unscaled, as in the
    public training script (which uses each file's maximum). Without test.h5 there is no test split. Raises
    `UsageError` if files are missing or damaged, or have too few events.
    """
    if root is None:
        raise UsageError(
            f"data.root: is missing, and the images are needed; {HOW}. For made-up ones set "
            "workload.options.synthetic: true"
        )
    base = Path(root, "rpv") if Path(root, "rpv").is_dir() else Path(root)
    found = {
        split: read(base / name, split, channels, counts[split])
        for split, name in FILES.items()
        if split != "test" or (base / name).exists()
    }
    for place, channel in enumerate(channels):
        if channel != "hist":
            largest = float(found["train"][0][:, place].max())
            for images, _ in found.values():
                images[:, place] /= largest or 1.0
    return Splits(found["train"], found["validation"], found.get("test"))


def read(path: Path, split: str, channels: Sequence[str], count: int | None) -> tuple[Tensor, Tensor]:
    """Return a file's first `count` events: images float32 (n, channels, h, w), and labels float32 (n,)."""
    try:
        import h5py
    except ImportError:
        raise UsageError(
            "the images are in HDF5 files, which need h5py: pip install 'evodevo[rpv]'"
        ) from None
    if not path.exists():
        raise UsageError(f"data.root: {path.parent} has no {path.name}; {HOW}")
    try:
        with h5py.File(path, "r") as file:
            group: Any = file[GROUP]
            there = len(group["y"])
            if count is not None and count > there:
                raise UsageError(
                    f"workload.options.{split}_examples: should be at most {there:,}, the events of {path}, "
                    f"not {count:,}"
                )
            labels = np.asarray(group["y"][:count], np.float32)
            images = np.stack([np.asarray(group[name][:count], np.float32) for name in channels], axis=1)
    except (KeyError, OSError) as why:
        raise UsageError(
            f"{path}: is not a file of these images, which has {GROUP}/y and {GROUP}/{{{','.join(channels)}}}"
            f": {str(why).strip(chr(39) + chr(34))}"
        ) from None
    if images.ndim != 4 or labels.shape != (len(images),):
        raise UsageError(
            f"{path}: has images of shape {images.shape[:1] + images.shape[2:]} and labels of shape "
            f"{labels.shape}, instead of (n, height, width) and (n,)"
        )
    if not np.isin(labels, (0, 1)).all():
        raise UsageError(f"{path}: has labels other than 0 and 1 in {GROUP}/y")
    return torch.from_numpy(images), torch.from_numpy(labels)


def made_up(channels: Sequence[str], counts: dict[str, int], pixels: int) -> Splits:
    """Return made-up events, an artificial task in the format of the real one.

    An event is a set of jets on a cylinder (phi, the second dimension of an image, is periodic) over soft
    single hits. A background event has 2 to 6 jets, in pairs back to back, with steeply falling energies; a
    signal event has 4 to 10 of more equal energy, in two clusters back to back. Most pixels are zero. Equal
    counts and numbers of pixels give equal events on any machine.
    """
    generator = np.random.default_rng([SEED, pixels])
    made = {name: _events(generator, count, pixels) for name, count in counts.items()}
    places = [CHANNELS.index(channel) for channel in channels]
    splits = {name: (images[:, places].contiguous(), labels) for name, (images, labels) in made.items()}
    return Splits(**splits)


def _events(generator: np.random.Generator, count: int, pixels: int) -> tuple[Tensor, Tensor]:
    images = np.zeros((count, len(CHANNELS), pixels, pixels), np.float32)
    labels = generator.integers(0, 2, count)
    for image, is_signal in zip(images, labels, strict=True):
        _soft_hits(generator, image)
        for eta, phi, energy in (_signal if is_signal else _background)(generator):
            _jet(generator, image, eta, phi, energy)
    return torch.from_numpy(images), torch.from_numpy(labels.astype(np.float32))


def _background(generator: np.random.Generator) -> list[tuple[float, float, float]]:
    """Return the jets of a background event: eta and phi as fractions of the image, and energy."""
    jets = []
    for energy in 0.25 + generator.exponential(0.5, generator.integers(1, 4)):
        phi = generator.uniform()
        for side in (0.0, generator.normal(0.5, 0.05)):
            jets.append((generator.uniform(0.15, 0.85), phi + side, energy))
    return jets


def _signal(generator: np.random.Generator) -> list[tuple[float, float, float]]:
    jets = []
    phi = generator.uniform()
    for side in (0.0, 0.5):
        eta = generator.uniform(0.25, 0.75)
        for _ in range(generator.integers(2, 6)):
            near = generator.normal(0, 0.1, 2)
            jets.append((eta + near[0], phi + side + near[1], generator.uniform(0.2, 0.7)))
    return jets


def _jet(generator: np.random.Generator, image: np.ndarray, eta: float, phi: float, energy: float) -> None:
    """Add a jet to an image, float32 (3, pixels, pixels): some particles around its axis."""
    pixels = image.shape[1]
    count = int(generator.integers(4, 12))
    shares = energy * generator.dirichlet(np.ones(count))
    rows = np.clip((eta * pixels + generator.normal(0, 0.02 * pixels, count)).astype(int), 0, pixels - 1)
    columns = np.floor(phi * pixels + generator.normal(0, 0.02 * pixels, count)).astype(int) % pixels
    tracks = 0.2 * (generator.uniform(0, 1, count) < 0.6)
    for channel, values in enumerate((shares, shares * generator.uniform(0, 1, count), tracks)):
        np.add.at(image[channel], (rows, columns), values)


def _soft_hits(generator: np.random.Generator, image: np.ndarray) -> None:
    pixels = image.shape[1]
    count = generator.poisson(0.03 * pixels * pixels)
    rows, columns = generator.integers(0, pixels, (2, count))
    energies = generator.exponential(0.03, (3, count))
    for channel in range(3):
        np.add.at(image[channel], (rows, columns), energies[channel])
