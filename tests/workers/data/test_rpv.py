"""RPV images: made-up ones, and files of the published layout."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from evodevo.errors import UsageError
from tests.golden import assert_golden
from workers.data import rpv

ALL: dict[str, int | None] = {"train": None, "validation": None, "test": None}
SIZES = {"train.h5": 5, "val.h5": 4, "test.h5": 3}


def write(path: Path, count: int, scale: float = 1.0, **changed: np.ndarray) -> None:
    """A file of the published layout; each image has its number, times 1, 10 and 100 by its channel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = scale * np.arange(1.0, count + 1)[:, None, None] * np.ones((1, 8, 8))
    found = {"hist": numbers, "histEM": 10 * numbers, "histtrack": 100 * numbers}
    found |= {"y": np.arange(count) % 2, "weight": np.ones(count), **changed}
    with h5py.File(path, "w") as file:
        group = file.create_group("all_events")
        for name, values in found.items():
            group[name] = values


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, count in SIZES.items():
        write(tmp_path / "rpv" / name, count, scale=1.0 if name == "train.h5" else 2.0)
    return tmp_path


def refusal(root: Path | None, **counts: int | None) -> str:
    with pytest.raises(UsageError) as caught:
        rpv.load(root and str(root), rpv.CHANNELS, {**ALL, **counts})
    return str(caught.value)


def test_files_of_the_published_layout_are_read_as_the_public_script_scales_them(root: Path) -> None:
    """As they are in `hist`; the other channels divided by their largest value in the training events."""
    splits = rpv.load(str(root), rpv.CHANNELS, ALL)
    images, labels = splits.train
    assert images.shape == (5, 3, 8, 8) and images.dtype == torch.float32
    assert labels.dtype == torch.float32 and labels.tolist() == [0, 1, 0, 1, 0]
    assert images[:, 0, 0, 0].tolist() == [1, 2, 3, 4, 5]
    for channel in (1, 2):
        torch.testing.assert_close(images[:, channel, 7, 7], torch.tensor([0.2, 0.4, 0.6, 0.8, 1.0]))
        torch.testing.assert_close(splits.validation[0][:, channel, 0, 0], torch.tensor([0.4, 0.8, 1.2, 1.6]))
    assert len(splits.test[1]) == 3


def test_the_first_events_of_each_file_and_some_channels_are_had(root: Path) -> None:
    splits = rpv.load(str(root / "rpv"), ["histtrack", "hist"], {"train": 2, "validation": 1, "test": None})
    assert splits.train[0][:, :, 0, 0].tolist() == [[0.5, 1], [1.0, 2]]
    assert [len(split[1]) for split in (splits.train, splits.validation, splits.test)] == [2, 1, 3]


def test_without_a_test_file_there_is_no_test_split(root: Path) -> None:
    (root / "rpv" / "test.h5").unlink()
    assert rpv.load(str(root), rpv.CHANNELS, ALL).test is None


def test_what_cannot_be_read_is_refused_by_name(root: Path, tmp_path: Path) -> None:
    directory = root / "rpv"
    assert refusal(None).startswith("data.root: ")
    assert "synthetic: true" in refusal(None)
    assert_golden("data/rpv/no-root", refusal(None))
    message = refusal(root, train=6)
    assert message.startswith("workload.options.train_examples: ")
    assert_golden("data/rpv/too-many-examples", message, tmp_path)
    write(directory / "val.h5", 4, y=np.full(4, 2))
    assert_golden("data/rpv/labels", refusal(root), tmp_path)
    write(directory / "val.h5", 4, y=np.zeros((4, 2)))
    assert_golden("data/rpv/labels-of-another-shape", refusal(root), tmp_path)
    (directory / "val.h5").write_bytes(b"no HDF5")
    assert refusal(root).startswith(f"{directory}/val.h5: ")
    with h5py.File(directory / "val.h5", "w") as file:
        file["all_events/y"] = [0, 1]
    assert "hist" in refusal(root)
    (directory / "val.h5").unlink()
    assert_golden("data/rpv/file-missing", refusal(root), tmp_path)


def made(**more: Any) -> Any:
    given: dict[str, Any] = {
        "channels": rpv.CHANNELS,
        "counts": {"train": 200, "validation": 50},
        "pixels": 32,
    }
    return rpv.made_up(**{**given, **more})


def test_made_up_events_are_the_same_each_time_sparse_and_of_both_kinds() -> None:
    first, second = made(), made()
    for split in ("train", "validation"):
        for one, other in zip(getattr(first, split), getattr(second, split), strict=True):
            assert torch.equal(one, other)
    images, labels = first.train
    assert images.shape == (200, 3, 32, 32) and images.dtype == torch.float32
    assert float(images.min()) == 0
    assert 0.01 < float((images > 0).float().mean()) < 0.15
    assert 70 < int(labels.sum()) < 130
    assert first.test is None
    assert not torch.equal(first.validation[0], images[:50])


def test_the_energy_of_an_event_does_not_tell_what_it_is() -> None:
    """A threshold of the sum of a channel, the simplest test, is wrong for a fifth of the events or more."""
    images, labels = made(counts={"train": 1000, "validation": 1}).train
    for channel in range(3):
        sums = images[:, channel].sum((1, 2))
        order = labels[sums.argsort()]
        background_above = (1 - order).flip(0).cumsum(0).flip(0)
        wrong = (order.cumsum(0) - order + background_above) / len(order)
        assert min(float(wrong.min()), float((1 - wrong).min())) > 0.2
