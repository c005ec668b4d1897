"""Splits of any usual kind as batches."""

import multiprocessing
import random
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    TensorDataset,
)

from evodevo.errors import UsageError
from tests.golden import raises_golden
from workers import batches

CPU = torch.device("cpu")
NUMBERS = torch.arange(20.0)
Pair = namedtuple("Pair", ["x", "y"])


class Stream(IterableDataset[Tensor]):
    def __init__(self, count: int = 20) -> None:
        self.count = count

    def __iter__(self) -> Iterator[Tensor]:
        yield from torch.arange(float(self.count))


class Unsized:
    """Yields batches."""

    def __iter__(self) -> Iterator[Tensor]:
        yield from NUMBERS.split(5)


def trained(split: Any, batch_size: int = 6, seed: int = 3, epoch: int = 0) -> list[Any]:
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(0)
    return list(batches.training_batches(split, batch_size, generator, epoch, CPU))


def flat(found: list[Any]) -> list[float]:
    return [
        float(number)
        for batch in found
        for number in (batch[0] if isinstance(batch, list | tuple) else batch)
    ]


KINDS: dict[str, Any] = {
    "tensor": NUMBERS,
    "tuple": (NUMBERS, -NUMBERS),
    "dataset": TensorDataset(NUMBERS),
    "list dataset": DataLoader(TensorDataset(NUMBERS), 6, shuffle=True, drop_last=True),
    "own generator": DataLoader(
        TensorDataset(NUMBERS), 6, shuffle=True, drop_last=True, generator=torch.Generator()
    ),
    "sampler with a generator": DataLoader(
        TensorDataset(NUMBERS), 6, drop_last=True, sampler=RandomSampler(NUMBERS, generator=torch.Generator())
    ),
    "sampler within a batch sampler": DataLoader(
        TensorDataset(NUMBERS),
        batch_sampler=BatchSampler(RandomSampler(NUMBERS, generator=torch.Generator()), 6, drop_last=True),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_comes_from_the_members_generator_and_from_nothing_that_was_before(kind: str) -> None:
    split = KINDS[kind]
    first = flat(trained(split))
    assert len(first) == 18
    assert len(set(first)) == 18
    assert first != sorted(first)
    random.random()
    next(iter(batches.training_batches(split, 6, torch.Generator().manual_seed(8), 0, CPU)))
    assert flat(trained(split)) == first
    other = split if kind in ("list dataset",) else None
    if other is None:  # torch's global generator, which `list dataset` draws from, is the member's too
        assert flat(trained(split, seed=4)) != first


@pytest.mark.parametrize("kind", KINDS)
def test_the_second_epoch_has_another_order(kind: str) -> None:
    generator = torch.Generator().manual_seed(3)
    torch.manual_seed(0)
    one, two = (
        flat(list(batches.training_batches(KINDS[kind], 6, generator, epoch, CPU))) for epoch in (0, 1)
    )
    assert one != two


def test_a_sampler_is_told_the_epoch() -> None:
    class Told(Sampler[int]):
        epochs: list[int] = []  # noqa: RUF012

        def set_epoch(self, epoch: int) -> None:
            self.epochs.append(epoch)

        def __iter__(self) -> Iterator[int]:
            return iter(range(3))

    trained(DataLoader(TensorDataset(NUMBERS), sampler=Told()), epoch=5)
    assert Told.epochs == [5]


def test_examples_stay_together_in_nested_tensors() -> None:
    split = ({"x": NUMBERS, "more": (NUMBERS * 2, NUMBERS.long())}, -NUMBERS)
    for first, last in trained(split):
        assert torch.equal(first["x"], -last)
        assert torch.equal(first["more"][0], -2 * last)
        assert first["more"][1].dtype == torch.int64


@pytest.mark.parametrize(
    ("split", "length", "steps"),
    [
        (NUMBERS, 20, 3),
        (NUMBERS[:4], 4, 1),
        ({"x": NUMBERS}, 20, 3),
        (TensorDataset(NUMBERS), 20, 3),
        (DataLoader(TensorDataset(NUMBERS), 7), 20, 3),
        (DataLoader(TensorDataset(NUMBERS), 7, drop_last=True), 20, 2),
        (Stream(), None, None),
        (DataLoader(Stream(), 7), None, None),
        ([NUMBERS, NUMBERS], None, 2),
        (Unsized(), None, None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_lengths_and_steps_are_known_where_there_are_any(
    split: Any, length: int | None, steps: int | None
) -> None:
    batches.checked("train", split)
    assert batches.length(split) == length
    assert batches.steps(split, 6) == steps
    if steps is not None:
        assert len(trained(split)) == steps


@pytest.mark.parametrize("split", [Stream(), DataLoader(Stream(), 6), Unsized(), list(NUMBERS.split(5))])
def test_what_has_no_length_is_gone_through_as_it_is(split: Any) -> None:
    assert flat(trained(split)) == NUMBERS.tolist()
    assert flat(list(batches.evaluation_batches(split, 6, CPU))) == NUMBERS.tolist()


def test_evaluation_keeps_the_order_and_leaves_nothing_out() -> None:
    for split in (NUMBERS, TensorDataset(NUMBERS), DataLoader(TensorDataset(NUMBERS), 7)):
        assert flat(list(batches.evaluation_batches(split, 6, CPU))) == NUMBERS.tolist()
    sizes = [len(batch) for batch in batches.evaluation_batches(torch.arange(1203), 6, CPU)]
    assert sizes == [500, 500, 203]
    assert list(batches.evaluation_batches(None, 6, CPU)) == []


def test_evaluating_a_shuffled_loader_is_the_same_each_time() -> None:
    loader = DataLoader(TensorDataset(NUMBERS), 6, shuffle=True, generator=torch.Generator())
    one, two = (flat(list(batches.evaluation_batches(loader, 6, CPU))) for _ in range(2))
    assert one == two


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (None, "is empty"),
        (NUMBERS[:0], "is empty"),
        ([], "is empty"),
        (TensorDataset(NUMBERS[:0]), "is empty"),
        (iter([NUMBERS]), r"list_iterator, which can be iterated only once"),
        ((batch for batch in [NUMBERS]), r"generator, which can be iterated only once"),
        (
            DataLoader(TensorDataset(NUMBERS), num_workers=1, persistent_workers=True),
            "leave persistent_workers out",
        ),
        (5, "is a int; give tensors"),
        (torch.tensor(1.0), "a tensor without a dimension of examples"),
        (np.zeros(3), r"a numpy.ndarray; give tensors .*torch.as_tensor"),
        ((NUMBERS, [1, 2]), "a tuple with a list in it; give tensors"),
        ({"x": NUMBERS, "y": np.zeros(20)}, "a dict with a numpy.ndarray in it; give tensors"),
        ((NUMBERS, torch.tensor(1.0)), "a tuple with a tensor without a dimension of examples in it"),
        ((NUMBERS, NUMBERS[:3]), r"3, 20 examples.*the same number"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_split_that_cannot_be_is_refused_by_its_name(split: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        batches.checked("validation", split)
    assert "validation split" in str(caught.value)


@dataclass
class Pack:
    x: Tensor
    name: str


@pytest.mark.parametrize(
    "batch",
    [
        NUMBERS,
        (NUMBERS, 5),
        ["names", NUMBERS],
        {"name": "a", "x": NUMBERS},
        Pair(NUMBERS, NUMBERS[:3]),
        Pack(NUMBERS, "a"),
        (torch.tensor(1.0), {"x": [NUMBERS]}),
    ],
    ids=lambda batch: type(batch).__name__,
)
def test_the_size_of_a_batch_is_the_length_of_its_first_tensor(batch: Any) -> None:
    assert batches.batch_length(batch) == 20


@pytest.mark.parametrize("batch", [["a", "b"], torch.tensor(1.0), {}, 3])
def test_a_batch_without_examples_asks_for_a_method(batch: Any) -> None:
    with raises_golden("batches/no-examples", TypeError, kind=type(batch).__name__):
        batches.batch_length(batch)


def test_batches_go_to_the_device_with_all_that_is_in_them() -> None:
    meta = torch.device("meta")
    pair, pack, kept = batches.on_device((Pair(NUMBERS, [NUMBERS]), Pack(NUMBERS, "a"), "text"), meta)
    assert isinstance(pair, Pair)
    assert isinstance(pack, Pack)
    assert {pair.x.device.type, pair.y[0].device.type, pack.x.device.type} == {"meta"}
    assert (pack.name, kept) == ("a", "text")

    class Own:
        def to(self, device: torch.device) -> str:
            return f"on {device}"

    assert batches.on_device(Own(), meta) == "on meta"


class Numbered(Dataset[int]):
    """Without a length."""

    def __getitem__(self, at: int) -> int:
        return at


def test_a_dataset_without_a_length_has_none() -> None:
    assert batches.length(Numbered()) is None


@pytest.mark.parametrize(
    ("method", "num_workers", "done"),
    [
        ("fork", 2, []),
        ("spawn", 0, []),
        ("forkserver", 2, ["torch.utils.data"]),
        ("spawn", 2, ["forkserver", "torch.utils.data"]),
    ],
)
def test_processes_are_forked_from_one_that_has_imported_torch(
    monkeypatch: pytest.MonkeyPatch, method: str, num_workers: int, done: list[str]
) -> None:
    found: list[str] = []
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda: method)
    monkeypatch.setattr(multiprocessing, "set_start_method", lambda name, force: found.append(name))
    monkeypatch.setattr(multiprocessing, "set_forkserver_preload", lambda names: found.append(names[0]))
    batches.have_processes_forked(DataLoader(TensorDataset(NUMBERS), num_workers=num_workers))
    batches.have_processes_forked(NUMBERS)
    assert found == done
