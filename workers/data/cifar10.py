"""CIFAR-10 (Krizhevsky 2009) in its published layouts, `cifar-10-batches-py` and `cifar-10-batches-bin`.

The first contains pickles, which could run code when they are loaded. They are read by an unpickler that
accepts only the constituents of NumPy arrays.
"""

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core import multiarray, numeric
from torch import Tensor

from evodevo.errors import UsageError
from workers.workload import Splits

TRAIN_FILES = [f"data_batch_{number}" for number in range(1, 6)]
TEST_FILE = "test_batch"
LAYOUTS = {"cifar-10-batches-py": "", "cifar-10-batches-bin": ".bin"}
"""The suffix of the files by the name of the directory."""
PER_FILE = 10_000
VALUES = 3 * 32 * 32
SPLIT_SEED = 2009
FETCH = "`python scripts/fetch_data.py cifar10 --root DIR` downloads it"

Arrays = tuple[np.ndarray, np.ndarray]


def load(
    root: str | None,
    train_examples: int | None = None,
    validation_examples: int = 5000,
    test_examples: int | None = None,
    pixels: int = 32,
) -> Splits:
    """Return splits of RGB images uint8 (n, 3, pixels, pixels), and labels int64 (n,) from 0 to 9.

    root: the directory of one of the layouts, its parent, or a directory whose `cifar10` is one of these.
    Of the 50,000 training images in a fixed random order, the last `validation_examples` are for validation
    and the first `train_examples` for training (None: all the others). The test split is the first
    `test_examples` of the 10,000 original test images (None: all).
    pixels: 32, or 16 for small experiments on a CPU: the mean of each 2 x 2 pixels, rounded.
    Raises `UsageError` if files are missing or damaged, or for impossible numbers of examples.
    """
    total = len(TRAIN_FILES) * PER_FILE
    _check_count("validation_examples", validation_examples, total - 1)
    train_limit = total - validation_examples
    _check_count("train_examples", train_examples, train_limit, f", beside {validation_examples} to validate")
    _check_count("test_examples", test_examples, PER_FILE)
    if pixels not in (16, 32):
        raise UsageError(f"workload.options.pixels: should be 16 or 32, not {pixels}")
    train, test = read(root)
    order = np.random.default_rng(SPLIT_SEED).permutation(total)
    chosen = order[: train_limit if train_examples is None else train_examples], order[train_limit:]
    parts = [(train[0][places], train[1][places]) for places in chosen]
    parts.append((test[0][:test_examples], test[1][:test_examples]))
    return Splits(*(_tensors(*part, pixels) for part in parts))


def read(root: str | None) -> tuple[Arrays, Arrays]:
    """Return the original training and test sets in their original order.

    Each is images uint8 (n, 3, 32, 32) and labels int64 (n,). Raises `UsageError` if files are missing or
    damaged.
    """
    directory, suffix = _find(root)
    read_file = read_records if suffix else read_pickle
    images, labels = zip(*(read_file(directory / f"{name}{suffix}") for name in TRAIN_FILES), strict=True)
    return (np.concatenate(images), np.concatenate(labels)), read_file(directory / f"{TEST_FILE}{suffix}")


def read_records(path: Path) -> Arrays:
    """Read a file of `cifar-10-batches-bin`: records of one byte for the label and 3,072 for the pixels."""
    data = _bytes(path)
    if len(data) != PER_FILE * (1 + VALUES):
        raise UsageError(
            f"{path}: has {len(data):,} bytes instead of {PER_FILE * (1 + VALUES):,}, {PER_FILE:,} records "
            f"of {1 + VALUES:,}; {FETCH}"
        )
    records = np.frombuffer(data, np.uint8).reshape(PER_FILE, 1 + VALUES)
    return _checked(path, records[:, 1:], records[:, 0])


def read_pickle(path: Path) -> Arrays:
    """Read a file of `cifar-10-batches-py`: a dict with `data`, uint8 (10000, 3072), and `labels`.

    The original files were written by Python 2, so their keys are bytes here; other files have str keys.
    """
    data = _bytes(path)
    try:
        batch = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
        pixels, labels = (batch[key] if key in batch else batch[key.encode()] for key in ("data", "labels"))
        return _checked(path, np.asarray(pixels), np.asarray(labels))
    except UsageError:
        raise
    except _Forbidden as why:
        raise UsageError(f"{path}: refers to {why}, which no batch of CIFAR-10 needs; {FETCH}") from None
    except Exception as why:  # damage may look like anything
        raise UsageError(
            f"{path}: is not a complete batch of CIFAR-10: {type(why).__name__}: {why}; {FETCH}"
        ) from None


class _Forbidden(pickle.UnpicklingError):
    """A name that a pickle refers to and must not load."""


class _ArraysOnly(pickle.Unpickler):
    """An unpickler of NumPy arrays, numbers, strings, bytes, lists and dicts only."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _PARTS[f"{module.replace('numpy._core', 'numpy.core')}.{name}"]
        except KeyError:
            raise _Forbidden(f"{module}.{name}") from None


def _encode(text: str, encoding: str) -> bytes:
    """Replace `codecs.encode`, only as Python 3 uses it for bytes in protocol 2."""
    if encoding != "latin1":
        raise _Forbidden(f"the encoding {encoding!r}")
    return text.encode("latin1")


_PARTS: dict[str, Callable[..., Any]] = {
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    "numpy.core.multiarray._reconstruct": multiarray._reconstruct,
    "numpy.core.multiarray.scalar": multiarray.scalar,
    "numpy.core.numeric._frombuffer": numeric._frombuffer,  # type: ignore[attr-defined]  # in protocol 5
    "_codecs.encode": _encode,
}
"""The constituents of an array; NumPy 1 names the module numpy.core, NumPy 2 numpy._core."""


def _checked(path: Path, pixels: np.ndarray, labels: np.ndarray) -> Arrays:
    if pixels.dtype != np.uint8 or pixels.shape != (PER_FILE, VALUES):
        raise UsageError(
            f"{path}: has {pixels.dtype} pixels of shape {pixels.shape} instead of uint8 "
            f"{(PER_FILE, VALUES)}; {FETCH}"
        )
    if labels.dtype.kind not in "iu" or labels.shape != (PER_FILE,) or labels.min() < 0 or labels.max() > 9:
        raise UsageError(f"{path}: should have {PER_FILE:,} labels from 0 to 9; {FETCH}")
    return pixels.reshape(PER_FILE, 3, 32, 32), labels.astype(np.int64)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UsageError(
            f"data.root: {path.parent} has no {path.name}, a part of CIFAR-10; {FETCH}"
        ) from None


def _find(root: str | None) -> tuple[Path, str]:
    """Return the first directory that has any of the files, and the suffix of their names."""
    if root is None:
        raise UsageError(f"data.root: should name the directory of CIFAR-10; {FETCH}")
    for base in (Path(root), Path(root, "cifar10")):
        for inside in (".", *LAYOUTS):
            for suffix in LAYOUTS.values():
                if any((base / inside / f"{name}{suffix}").is_file() for name in (*TRAIN_FILES, TEST_FILE)):
                    return base / inside, suffix
    raise UsageError(f"data.root: {root} has neither {' nor '.join(LAYOUTS)} of CIFAR-10; {FETCH}")


def _check_count(option: str, count: int | None, limit: int, why: str = "") -> None:
    if count is not None and not 1 <= count <= limit:
        raise UsageError(f"workload.options.{option}: should be from 1 to {limit}{why}, not {count}")


def _tensors(images: np.ndarray, labels: np.ndarray, pixels: int) -> tuple[Tensor, Tensor]:
    if pixels == 16:
        fours = images.reshape(-1, 3, 16, 2, 16, 2).sum((3, 5), dtype=np.uint16)
        images = ((fours + 2) // 4).astype(np.uint8)
    return torch.from_numpy(np.array(images)), torch.from_numpy(np.array(labels))
