"""Digests of the splits, which show whether two workers, or two launches, have the same data.

Tensors up to 64 MiB are hashed whole; larger ones and datasets by a sample spread over all of it, and
iterables by their first items. This guards against a different split or version of the data, not against
an adversary.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from workers import batches
from workers.seeding import derived, seed_all

WHOLE_BYTES = 64 << 20
PIECES = 1024
EXAMPLES = 32


def of(workload: Any, seed: int) -> dict[str, str]:
    """Return the digest of each split of a workload by its name; empty for a command, which has no splits."""
    splits = getattr(workload, "splits", None)
    found = {}
    for name in ("train", "validation", "test"):
        if (split := getattr(splits, name, None)) is not None:
            seed_all(derived(seed, "digest", name))
            found[name] = digest(split)
    return found


def difference(one: Mapping[str, str], other: Mapping[str, str]) -> str | None:
    """Return the name of the first split whose digests differ, or None."""
    return next((name for name in [*one, *other] if one.get(name) != other.get(name)), None)


def digest(split: Any) -> str:
    """Return the digest of a split, 16 hexadecimal digits."""
    found = hashlib.sha256()
    for piece in _split_pieces(split):
        found.update(piece)
        found.update(b"\0")
    return found.hexdigest()[:16]


def _split_pieces(split: Any) -> Iterator[bytes]:
    yield str(batches.length(split)).encode()
    if batches.is_tensors(split):
        yield from _pieces(split)
        return
    if isinstance(split, DataLoader):
        for sampler in batches.samplers(split):
            yield from _pieces({key: value for key, value in vars(sampler).items() if _is_plain(value)})
        split = split.dataset
    while isinstance(split, Subset):
        yield from _pieces(torch.as_tensor(list(split.indices)))
        split = split.dataset
    count = batches.length(split) if isinstance(split, Dataset) else None
    if isinstance(split, Sequence):
        count = len(split)
    if count is not None and not isinstance(split, IterableDataset):
        for at in sorted({round(n) for n in np.linspace(0, count - 1, min(count, EXAMPLES))}):
            yield from _pieces(split[at])
        return
    for example in islice(split, EXAMPLES):
        yield from _pieces(example)


def _pieces(value: Any) -> Iterator[bytes]:
    """Yield the bytes of an example of any structure; an object of an unknown kind counts by its type."""
    if isinstance(value, Tensor):
        yield f"{value.dtype}{tuple(value.shape)}".encode()
        yield from _tensor_pieces(value.detach().cpu().resolve_conj().resolve_neg())
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield repr(key).encode()
            yield from _pieces(part)
    elif isinstance(value, list | tuple):
        yield str(len(value)).encode()
        for part in value:
            yield from _pieces(part)
    elif isinstance(value, np.ndarray) and value.dtype != object:
        yield f"{value.dtype}{value.shape}".encode()
        yield from _tensor_pieces(torch.from_numpy(np.frombuffer(value.tobytes(), dtype=np.uint8).copy()))
    elif isinstance(value, bool | int | float | complex | str | bytes | np.generic | None):
        yield repr(value).encode()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from _pieces({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    elif hasattr(value, "__array_interface__"):  # such as a picture
        yield from _pieces(np.asarray(value))
    else:
        yield type(value).__qualname__.encode()


def _is_plain(value: Any) -> bool:
    """Return whether an attribute of a sampler may determine which examples it takes: one or many numbers."""
    if isinstance(value, list | tuple):
        return all(isinstance(one, int | float | np.generic) for one in value)
    return isinstance(value, int | float | Tensor | np.ndarray)


def _tensor_pieces(value: Tensor) -> Iterator[bytes]:
    if value.layout != torch.strided:
        value = value.to_dense()
    data = value.contiguous().reshape(-1).view(torch.uint8)
    if data.numel() <= WHOLE_BYTES:
        yield data.numpy().tobytes()
        return
    size = WHOLE_BYTES // PIECES
    for start in np.linspace(0, data.numel() - size, PIECES).astype(np.int64):
        yield data[start : start + size].numpy().tobytes()
