"""Digests: the same data have the same everywhere, and other data another."""

import dataclasses
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from tests.workers.conftest import REPOSITORY
from workers import digests
from workers.seeding import seed_all


class Augmented(Dataset[Any]):
    """Texts, numbers, pictures and noise from every generator."""

    def __init__(self, first: int = 0) -> None:
        self.first = first

    def __len__(self) -> int:
        return 40

    def __getitem__(self, at: int) -> Any:
        noise = random.random(), float(np.random.random()), float(torch.rand(()))
        return {"id": f"example {self.first + at}", "x": np.full((2, 2), at), "noise": noise}


@dataclasses.dataclass
class Pack:
    x: torch.Tensor
    kind: Any


class Stream(IterableDataset[Any]):
    def __init__(self, first: float = 0.0) -> None:
        self.first = first

    def __iter__(self) -> Iterator[Any]:
        yield from (torch.tensor([self.first + at]) for at in range(50))


def splits() -> dict[str, Any]:
    """Return new objects each time, so that identity does not matter."""
    numbers = torch.arange(90.0)
    data = TensorDataset(numbers, numbers.long() % 3)
    return {
        "tensors": (numbers, {"y": -numbers.double()}),
        "complex": numbers.to(torch.complex64).conj(),
        "sparse": torch.eye(40).to_sparse(),
        "dataset": data,
        "augmented": Augmented(),
        "subset": Subset(data, [5, 3, 80]),
        "concatenated": ConcatDataset([data, data]),
        "stream": Stream(),
        "loader": DataLoader(data, 16, shuffle=True),
        "subset sampler": DataLoader(data, 16, sampler=SubsetRandomSampler([1, 2, 3])),
        "weighted": DataLoader(
            data, batch_sampler=BatchSampler(WeightedRandomSampler([1.0] * 90, 90), 16, drop_last=True)
        ),
        "batches": [numbers[at : at + 1] for at in range(90)],
        "packs": [Pack(numbers, None), Pack(-numbers, "b")],
    }


def of(split: Any) -> str:
    seed_all(1)
    return digests.digest(split)


def test_the_same_data_have_the_same_digest_in_another_process_and_all_data_another() -> None:
    program = "import json; from tests.workers import test_digests as t; print(json.dumps(t.all_of_them()))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONHASHSEED": "12345"},
    )
    assert done.returncode == 0, done.stderr
    found = all_of_them()
    assert json.loads(done.stdout) == found
    assert len(set(found.values())) == len(found)


def all_of_them() -> dict[str, str]:
    return {name: of(split) for name, split in splits().items()}


def changed(name: str) -> Any:
    """Data that differ in one place."""
    split = splits()[name]
    numbers = torch.arange(90.0)
    other = numbers.clone()
    other[45] += 1e-5
    data = TensorDataset(numbers, numbers.long() % 3)
    if name == "tensors":
        split[1]["y"][89] += 1e-9
        return split
    return {
        "complex": numbers.to(torch.complex64).conj() + 1e-6j,
        "sparse": (torch.eye(40) * 1.001).to_sparse(),
        "dataset": TensorDataset(numbers, (numbers.long() + 1) % 3),
        "augmented": Augmented(1),
        "subset": Subset(data, [3, 5, 80]),
        "concatenated": ConcatDataset([data, TensorDataset(other, numbers.long() % 3)][::-1]),
        "stream": Stream(0.5),
        "loader": DataLoader(TensorDataset(numbers + 1, numbers.long() % 3), 16, shuffle=True),
        "subset sampler": DataLoader(data, 16, sampler=SubsetRandomSampler([1, 2, 4])),
        "weighted": DataLoader(
            data, batch_sampler=BatchSampler(WeightedRandomSampler([1.0] * 89 + [2], 90), 16, drop_last=True)
        ),
        "batches": [numbers[at : at + 1] for at in range(89)] + [numbers[:1]],
        "packs": [Pack(numbers, None), Pack(-numbers, "c")],
    }[name]


@pytest.mark.parametrize("name", [name for name in splits() if name != "concatenated"])
def test_a_change_in_one_place_is_another_digest(name: str) -> None:
    assert of(splits()[name]) == of(splits()[name])
    assert of(changed(name)) != of(splits()[name])


def test_order_length_type_and_structure_count() -> None:
    numbers = torch.arange(8.0)
    different = [
        numbers,
        numbers.flip(0),
        numbers[:7],
        numbers.double(),
        numbers.reshape(8, 1),
        (numbers,),
        (numbers, numbers),
        {"x": numbers},
        {"y": numbers},
        TensorDataset(numbers),
        TensorDataset(numbers.flip(0)),
    ]
    assert len({of(split) for split in different}) == len(different)


def test_of_large_tensors_a_sample_counts_that_is_spread_over_all_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(digests, "WHOLE_BYTES", 4096)
    monkeypatch.setattr(digests, "PIECES", 16)
    large = torch.zeros(100_000)
    for at in (0, -1):
        other = large.clone()
        other[at] = 1.0
        assert of(other) != of(large)
    other = large.clone()
    other[::200] = 1.0
    assert of(other) != of(large)


def test_the_first_split_that_differs_is_named() -> None:
    one = {"train": "a", "validation": "b"}
    assert digests.difference(one, dict(one)) is None
    assert digests.difference(one, {"train": "a", "validation": "c"}) == "validation"
    assert digests.difference(one, {**one, "test": "d"}) == "test"
    assert digests.difference(one, {}) == "train"


def test_a_program_has_no_splits() -> None:
    assert digests.of(object(), 0) == {}
