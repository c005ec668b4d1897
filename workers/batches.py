"""Batches on the device from the usual kinds of splits.

A split may be tensors (one, or a tuple or dict of them, nested or not, with the examples along their first
dimension), a `Dataset`, a `DataLoader`, a list of batches, or any object that yields batches each time it is
iterated.
"""

import dataclasses
import multiprocessing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler

from evodevo.errors import UsageError

LARGEST_SHARE = 0.25
"""A split's tensors stay in host memory if they would take more than this fraction of a GPU's free memory."""
EVALUATION_BATCH = 500
"""Minimum batch size for evaluating tensors; the training batch size is used if it is larger."""


def is_tensors(split: Any) -> bool:
    """Return whether a split consists only of tensors indexed by example; a list is a list of batches."""
    if isinstance(split, Tensor):
        return split.ndim > 0
    if isinstance(split, Mapping):
        return bool(split) and all(is_tensors(part) for part in split.values())
    return isinstance(split, tuple) and bool(split) and all(is_tensors(part) for part in split)


def mapped(function: Any, tree: Any) -> Any:
    """Apply a function to each tensor of nested tuples, lists, dicts and dataclasses; keep the rest."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(mapped(function, part) for part in tree))
    if isinstance(tree, list | tuple):
        return type(tree)(mapped(function, part) for part in tree)
    if isinstance(tree, dict):
        return {key: mapped(function, part) for key, part in tree.items()}
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        own = {field.name: mapped(function, getattr(tree, field.name)) for field in dataclasses.fields(tree)}
        return dataclasses.replace(tree, **own)
    return tree


def on_device(batch: Any, device: torch.device) -> Any:
    """Return a batch with its tensors on the device, by its own method `to` if it has one."""
    if not isinstance(batch, Tensor) and callable(getattr(batch, "to", None)):
        return batch.to(device)
    return mapped(lambda tensor: tensor.to(device, non_blocking=True), batch)


def length(split: Any) -> int | None:
    """Return the number of examples of a split, or None if it has no length."""
    if is_tensors(split):
        return len(next(_tensors(split)))
    if isinstance(split, DataLoader):
        split = split.dataset
    if isinstance(split, Dataset):
        return _len(split)
    return None


def steps(split: Any, batch_size: int) -> int | None:
    """Return how many batches an epoch of training has, or None if that is not known in advance."""
    if is_tensors(split) or (isinstance(split, Dataset) and not isinstance(split, IterableDataset)):
        return max(1, (length(split) or 0) // batch_size)
    return _len(split) if not isinstance(split, Dataset) else None


def batch_length(batch: Any) -> int:
    """Return the number of examples of a batch: the first dimension of the first tensor in it.

    Raises `TypeError` if the batch has no tensor with a dimension.
    """
    for tensor in _tensors(batch):
        if tensor.ndim:
            return len(tensor)
    raise TypeError(
        f"the number of examples in a batch, a {type(batch).__qualname__} without tensors, is unknown; "
        "override batch_length(batch)"
    )


def share(batch: Any, rank: int, size: int) -> Any:
    """Return the consecutive examples of a batch that belong to worker `rank` of `size`.

    Raises `UsageError` if the tensors do not all have the examples along their first dimension, or if there
    are fewer examples than workers.
    """
    lengths = {len(tensor) if tensor.ndim else None for tensor in _tensors(batch)}
    count = next(iter(lengths), None)
    if len(lengths) != 1 or count is None or not _has_tensors_only(batch):
        raise UsageError(
            "cluster.workers_per_member: not all parts of a batch are tensors with the examples along their "
            "first dimension; override share(batch, rank, size) to return a worker's share"
        )
    if count < size:
        raise UsageError(
            f"cluster.workers_per_member: a batch has {count} examples, too few for {size} workers; drop "
            "the incomplete last batch (drop_last=True of a DataLoader)"
        )
    chosen = slice(count * rank // size, count * (rank + 1) // size)
    return mapped(lambda tensor: tensor[chosen], batch)


def checked(name: str, split: Any) -> None:
    """Raise `UsageError` for a split that is empty or malformed, or cannot give the same batches twice."""
    if split is None or _len(split) == 0:
        raise UsageError(f"the {name} split of the data is empty")
    if is_tensors(split) and len(lengths := {len(tensor) for tensor in _tensors(split)}) > 1:
        raise UsageError(
            f"the tensors of the {name} split have {', '.join(map(str, sorted(lengths)))} examples along "
            "their first dimension; all should have the same number"
        )
    if length(split) == 0:
        raise UsageError(f"the {name} split of the data is empty")
    if isinstance(split, Tensor | np.ndarray | tuple | Mapping) and not is_tensors(split):
        raise UsageError(
            f"the {name} split is {_odd_part(split)}; give tensors with the examples along their first "
            "dimension (torch.as_tensor makes them of arrays and lists of numbers), or a Dataset"
        )
    if isinstance(split, Iterator):
        raise UsageError(
            f"the {name} split is a {type(split).__qualname__}, which can be iterated only once; give a "
            "Dataset, a DataLoader, a list of batches, or an object whose __iter__ starts over"
        )
    if isinstance(split, DataLoader) and split.persistent_workers:
        raise UsageError(
            f"the {name} split is a DataLoader with persistent_workers=True, whose processes keep the random "
            "state of the previous member; leave persistent_workers out"
        )
    if not (is_tensors(split) or isinstance(split, Dataset | Iterable)):
        raise UsageError(
            f"the {name} split is a {type(split).__qualname__}; give tensors (one, or tuples or dicts of "
            "them), a Dataset, a DataLoader, or something that can be iterated and yields batches"
        )


def have_processes_forked(split: Any) -> None:
    """Fork the processes of a DataLoader from a server that has already imported torch.

    In a Dask worker each would otherwise import torch in every epoch, which takes seconds.
    """
    method = multiprocessing.get_start_method()
    if getattr(split, "num_workers", 0) and method != "fork":
        if method == "spawn" and "forkserver" in multiprocessing.get_all_start_methods():
            multiprocessing.set_start_method("forkserver", force=True)
        multiprocessing.set_forkserver_preload(["torch.utils.data", "numpy"])


def _odd_part(split: Any) -> str:
    """Describe the part of a split that is not a tensor with examples."""
    if isinstance(split, tuple | Mapping):
        parts = split.values() if isinstance(split, Mapping) else split
        odd = next((part for part in parts if not is_tensors(part)), None)
        return f"a {type(split).__name__} with {_odd_part(odd)} in it"
    if isinstance(split, Tensor):
        return "a tensor without a dimension of examples"
    return f"a {type(split).__module__}.{type(split).__qualname__}".replace("builtins.", "")


def kept(split: Any, device: torch.device) -> Any:
    """Return a split with its tensors on the device, unless they take too much of its memory."""
    if not is_tensors(split) or device.type == "cpu":
        return split
    size = sum(tensor.numel() * tensor.element_size() for tensor in _tensors(split))
    if size > LARGEST_SHARE * torch.cuda.mem_get_info(device)[0]:
        return split
    return on_device(split, device)


def training_batches(
    split: Any, batch_size: int, generator: torch.Generator, epoch: int, device: torch.device
) -> Iterator[Any]:
    """Yield the batches of one epoch, in an order drawn from `generator`.

    Tensors and datasets give whole batches only (or one smaller batch if they have fewer examples). A
    DataLoader or another iterable is used as it is; its generators are seeded from `generator`.
    """
    if is_tensors(split):
        yield from _shuffled(split, batch_size, generator, device)
        return
    if isinstance(split, IterableDataset):
        split = DataLoader(split, batch_size, generator=generator)
    elif isinstance(split, Dataset):
        sampler = RandomSampler(split, generator=generator)  # type: ignore[arg-type]
        whole = (_len(split) or 0) >= batch_size
        split = DataLoader(split, batch_size, sampler=sampler, drop_last=whole, generator=generator)
    else:
        _seed(split, generator, epoch)
    for batch in split:
        yield on_device(batch, device)


def evaluation_batches(split: Any, batch_size: int, device: torch.device) -> Iterator[Any]:
    """Yield a split in its own order; batches of tensors may be larger than in training."""
    if split is None:
        return
    if is_tensors(split):
        size = max(batch_size, EVALUATION_BATCH)
        for start in range(0, length(split) or 0, size):
            yield on_device(mapped(lambda tensor: tensor[start : start + size], split), device)  # noqa: B023
        return
    if isinstance(split, Dataset):
        split = DataLoader(split, batch_size)
    else:
        _seed(split, torch.Generator().manual_seed(0), 0)
    for batch in split:
        yield on_device(batch, device)


def _shuffled(split: Any, batch_size: int, generator: torch.Generator, device: torch.device) -> Iterator[Any]:
    count = length(split) or 0
    home = next(iter(_tensors(split))).device
    order = torch.randperm(count, generator=generator).to(home)
    for start in range(0, max(1, count - batch_size + 1), batch_size):
        chosen = order[start : start + batch_size]
        yield on_device(mapped(lambda tensor: tensor[chosen], split), device)  # noqa: B023


def _seed(split: Any, generator: torch.Generator, epoch: int) -> None:
    """Seed the generators of a DataLoader and of its samplers, whose state outlives a member."""
    seed = int(torch.randint(2**62, (1,), generator=generator))
    for own in generators(split):
        own.manual_seed(seed)
    for owner in (split, *samplers(split)):
        if callable(set_epoch := getattr(owner, "set_epoch", None)):
            set_epoch(epoch)


def generators(split: Any) -> list[torch.Generator]:
    """Return the generators of a DataLoader and of its samplers; empty for other splits."""
    found = (getattr(owner, "generator", None) for owner in (split, *samplers(split)))
    return [own for own in found if isinstance(own, torch.Generator)]


def samplers(split: Any) -> Iterator[Any]:
    """Yield the samplers of a DataLoader, and those within them."""
    waiting = [getattr(split, name, None) for name in ("batch_sampler", "sampler")]
    seen: set[int] = set()
    while waiting:
        sampler = waiting.pop(0)
        if sampler is not None and id(sampler) not in seen:
            seen.add(id(sampler))
            waiting += [getattr(sampler, name, None) for name in ("batch_sampler", "sampler")]
            yield sampler


def _tensors(tree: Any) -> Iterator[Tensor]:
    """Yield the tensors of nested containers in order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        for part in tree.values():
            yield from _tensors(part)
    elif isinstance(tree, list | tuple):
        for part in tree:
            yield from _tensors(part)
    elif dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        yield from _tensors([getattr(tree, field.name) for field in dataclasses.fields(tree)])


def _has_tensors_only(tree: Any) -> bool:
    """Return whether nested containers hold only tensors and None."""
    if isinstance(tree, Mapping):
        return all(map(_has_tensors_only, tree.values()))
    if isinstance(tree, list | tuple):
        return all(map(_has_tensors_only, tree))
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return all(_has_tensors_only(getattr(tree, field.name)) for field in dataclasses.fields(tree))
    return tree is None or isinstance(tree, Tensor)


def _len(split: Any) -> int | None:
    """Return the length, or None; the `__len__` of a DataLoader may raise `TypeError`."""
    try:
        return len(split)
    except (TypeError, NotImplementedError):
        return None
