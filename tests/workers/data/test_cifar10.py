"""CIFAR-10 in both of its layouts, with files of 20 images instead of 10,000."""

import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from evodevo.errors import UsageError
from tests.golden import assert_golden
from tests.workers.digests import of_splits
from workers.data import cifar10
from workers.data.cifar10 import FETCH, load, read
from workers.workload import Splits

FEW = 20
NAMES = [*cifar10.TRAIN_FILES, cifar10.TEST_FILE]
PIXELS = np.random.default_rng(0).integers(0, 256, (6 * FEW, 3072), np.uint8)
LABELS = np.random.default_rng(1).integers(0, 10, 6 * FEW)
FIRST_OF_50000 = [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined, misc]
    """Writes text and bytes as Python 2 wrote its `str`."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_str(self, value: str | bytes) -> None:
        data = value.encode("latin1") if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_str


def python2(batch: dict[Any, Any]) -> bytes:
    file = io.BytesIO()
    Python2Pickler(file, 2).dump(batch)
    return file.getvalue().replace(b"numpy._core", b"numpy.core")


def as_bytes(batch: dict[str, Any]) -> dict[bytes, Any]:
    return {key.encode(): value for key, value in batch.items()}


PICKLES: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "as published, by Python 2": python2,
    "bytes, protocol 2": lambda batch: pickle.dumps(as_bytes(batch), 2),
    "text, protocol 2": lambda batch: pickle.dumps(batch, 2),
    "bytes, protocol 4": lambda batch: pickle.dumps(as_bytes(batch), 4),
    "text, protocol 5": lambda batch: pickle.dumps(batch, 5),
    "labels as an array": lambda batch: pickle.dumps({**batch, "labels": np.array(batch["labels"])}),
    "labels as numpy's numbers": lambda batch: pickle.dumps(
        {**batch, "labels": [*np.array(batch["labels"])]}
    ),
}


def batch_of(number: int) -> dict[str, Any]:
    part = slice(number * FEW, (number + 1) * FEW)
    return {
        "batch_label": f"batch {number + 1} of 6",
        "labels": LABELS[part].tolist(),
        "data": PIXELS[part],
        "filenames": [f"image_{index}.png" for index in range(FEW)],
    }


def write_pickles(directory: Path, dump: Callable[[dict[str, Any]], bytes] = python2) -> Path:
    directory.mkdir(parents=True)
    for number, name in enumerate(NAMES):
        (directory / name).write_bytes(dump(batch_of(number)))
    return directory


def write_records(directory: Path) -> Path:
    directory.mkdir(parents=True)
    records = np.hstack([LABELS.astype(np.uint8)[:, None], PIXELS])
    for number, name in enumerate(NAMES):
        (directory / f"{name}.bin").write_bytes(records[number * FEW : (number + 1) * FEW].tobytes())
    return directory


WRITERS = {"cifar-10-batches-py": write_pickles, "cifar-10-batches-bin": write_records}


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "PER_FILE", FEW)


@pytest.fixture(params=WRITERS)
def directory(request: pytest.FixtureRequest, tmp_path: Path, small_files: None) -> Path:
    return WRITERS[request.param](tmp_path / "it's data" / request.param)


@pytest.fixture
def pickles(tmp_path: Path, small_files: None) -> Path:
    return write_pickles(tmp_path / "py")


@pytest.fixture
def records(tmp_path: Path, small_files: None) -> Path:
    return write_records(tmp_path / "bin")


def refusal(root: Path | None, **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        load(str(root) if root else None, **{"validation_examples": 10, **options})
    message = str(caught.value)
    assert "\n" not in message
    return message


def numbers_of(splits: Splits) -> list[list[int]]:
    """Which of the written images are in each split."""
    known = {image.tobytes(): number for number, image in enumerate(PIXELS)}
    assert splits.test
    return [
        [known[image.numpy().tobytes()] for image in split[0]]
        for split in (splits.train, splits.validation, splits.test)
    ]


def assert_as_written(root: Path) -> None:
    (images, labels), (test_images, test_labels) = read(str(root))
    assert (images.dtype, images.shape) == (np.uint8, (5 * FEW, 3, 32, 32))
    assert (labels.dtype, labels.shape) == (np.int64, (5 * FEW,))
    assert np.array_equal(np.concatenate([images, test_images]).reshape(-1, 3072), PIXELS)
    assert np.array_equal(np.concatenate([labels, test_labels]), LABELS)


@pytest.mark.parametrize("dump", PICKLES.values(), ids=PICKLES)
def test_pickles_are_read_whoever_wrote_them(
    tmp_path: Path, small_files: None, dump: Callable[[dict[str, Any]], bytes]
) -> None:
    assert_as_written(write_pickles(tmp_path / "py", dump))


def test_both_layouts_give_what_was_written(directory: Path) -> None:
    assert_as_written(directory)


def test_a_value_of_a_red_a_green_and_a_blue_pixel_is_where_the_format_says(records: Path) -> None:
    images = read(str(records))[0][0]
    assert [images[7, 0, 2, 5], images[7, 1, 2, 5], images[7, 2, 2, 5]] == [
        PIXELS[7, 2 * 32 + 5],
        PIXELS[7, 1024 + 2 * 32 + 5],
        PIXELS[7, 2048 + 2 * 32 + 5],
    ]


def test_the_root_may_be_the_directory_the_one_above_or_one_with_cifar10(directory: Path) -> None:
    expected = of_splits(load(str(directory), validation_examples=10))
    assert of_splits(load(str(directory.parent), validation_examples=10)) == expected
    above = directory.parent.rename(directory.parent.parent / "cifar10").parent
    assert of_splits(load(str(above), validation_examples=10)) == expected


def test_training_and_validation_part_the_training_files_and_the_test_file_is_the_test(
    directory: Path,
) -> None:
    splits = load(str(directory), validation_examples=30)
    train, validation, test = numbers_of(splits)
    assert (len(train), len(validation)) == (70, 30)
    assert sorted([*train, *validation]) == list(range(100))
    assert test == list(range(100, 120))
    assert splits.test
    for (images, labels), numbers in (
        (splits.train, train),
        (splits.validation, validation),
        (splits.test, test),
    ):
        assert labels.tolist() == LABELS[numbers].tolist()
        assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)


def test_the_order_is_random_and_the_same_in_every_process_and_every_release(pickles: Path) -> None:
    for seed in (1, 2):
        np.random.seed(seed)
        train, validation, _ = numbers_of(load(str(pickles), validation_examples=10))
        assert train[:6] == [14, 50, 36, 78, 86, 62]
        assert validation[-6:] == [46, 72, 25, 82, 99, 12]


def test_fewer_training_examples_are_the_first_ones_and_leave_validation_as_it_is(pickles: Path) -> None:
    train, validation, test = numbers_of(load(str(pickles), validation_examples=10))
    fewer = numbers_of(load(str(pickles), train_examples=7, validation_examples=10, test_examples=3))
    assert fewer == [train[:7], validation, test[:3]]


def test_16_pixels_are_the_rounded_means_of_2_by_2(tmp_path: Path, small_files: None) -> None:
    image = np.zeros((3, 32, 32), np.uint8)
    image[0, :2, :2] = [[1, 2], [3, 5]]  # 2.75
    image[1, 30:, 30:] = [[0, 0], [0, 1]]  # 0.25
    image[2, 4:6, 8:10] = 255
    image[2, 4:6, 10:12] = [[255, 255], [0, 0]]  # 127.5
    records = np.tile(np.concatenate([[3], image.ravel()]).astype(np.uint8), (FEW, 1)).tobytes()
    for name in NAMES:
        (tmp_path / f"{name}.bin").write_bytes(records)
    images = load(str(tmp_path), validation_examples=10, pixels=16).train[0]
    assert (images.shape, images.dtype) == ((90, 3, 16, 16), torch.uint8)
    expected = torch.zeros(3, 16, 16, dtype=torch.uint8)
    expected[0, 0, 0], expected[2, 2, 4], expected[2, 2, 5] = 3, 255, 128
    assert torch.equal(images[17], expected)


@pytest.mark.parametrize(
    ("name", "options", "key"),
    [
        ("train-91", {"train_examples": 91}, "workload.options.train_examples"),
        ("train-0", {"train_examples": 0}, "workload.options.train_examples"),
        ("validation-100", {"validation_examples": 100}, "workload.options.validation_examples"),
        ("validation-0", {"validation_examples": 0}, "workload.options.validation_examples"),
        ("validation-negative", {"validation_examples": -5}, "workload.options.validation_examples"),
        ("test-21", {"test_examples": 21}, "workload.options.test_examples"),
        ("test-0", {"test_examples": 0}, "workload.options.test_examples"),
        ("pixels", {"pixels": 24}, "workload.options.pixels"),
    ],
    ids=str,
)
def test_a_number_that_cannot_be_is_refused_by_its_name(
    name: str, pickles: Path, options: dict[str, int], key: str
) -> None:
    message = refusal(pickles, **options)
    assert message.startswith(f"{key}: ")
    assert_golden(f"data/cifar10/number/{name}", message)


def test_without_a_root_or_without_files_it_is_said_where_they_are_had(tmp_path: Path) -> None:
    messages = [refusal(root) for root in (None, tmp_path, tmp_path / "nowhere")]
    for message in messages:
        assert message.startswith("data.root: ")
        assert message.endswith(f"; {FETCH}")
    assert_golden("data/cifar10/no-root", messages[0])
    assert_golden("data/cifar10/no-files", messages[1], root=tmp_path)
    assert_golden("data/cifar10/no-files", messages[2], root=tmp_path / "nowhere")


@pytest.mark.parametrize("missing", NAMES)
def test_a_missing_file_is_named(directory: Path, missing: str) -> None:
    (file,) = directory.glob(f"{missing}*")
    file.unlink()
    message = refusal(directory)
    assert message.startswith("data.root: ")
    assert_golden("data/cifar10/file-missing", message, directory=directory, file=file.name)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: data[:100],
        lambda data: b"<html>not found</html>",
        lambda data: b"\x1f\x8b" + data,
        lambda data: data[:40] + b"\xff" * 9 + data[49:],
        lambda data: pickle.dumps([1, 2]),
        lambda data: pickle.dumps(None),
        lambda data: pickle.dumps({"data": PIXELS[:FEW]}),
        lambda data: pickle.dumps({"labels": [0] * FEW}),
    ],
    ids=[
        "none",
        "an end",
        "half",
        "a head",
        "html",
        "gzip",
        "altered",
        "list",
        "None",
        "no labels",
        "no data",
    ],
)
def test_a_pickle_that_is_no_whole_batch_is_refused_by_name(
    pickles: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = pickles / "data_batch_3"
    path.write_bytes(damage(path.read_bytes()))
    message = refusal(pickles)
    assert message.startswith(f"{path}: ")
    assert message.endswith(f"; {FETCH}")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("images", {"data": PIXELS[: FEW - 1]}),
        ("pixels", {"data": PIXELS[:FEW, :-1]}),
        ("floats", {"data": PIXELS[:FEW] / 255}),
        ("objects", {"data": PIXELS[:FEW, :3].astype(object)}),
        ("labels", {"labels": [0] * (FEW - 1)}),
        ("label-10", {"labels": [10] + [0] * (FEW - 1)}),
        ("label-negative", {"labels": [-1] + [0] * (FEW - 1)}),
        ("words", {"labels": ["cat"] * FEW}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_batch_of_another_kind_or_number_is_refused_with_what_it_has(
    name: str, pickles: Path, change: dict[str, Any]
) -> None:
    path = pickles / "test_batch"
    path.write_bytes(pickle.dumps({**batch_of(5), **change}))
    message = refusal(pickles)
    assert message.startswith(f"{path}: ")
    assert_golden(f"data/cifar10/batch/{name}", message, file=path)


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"0", lambda data: b""])
def test_records_that_are_not_whole_are_refused_with_their_length(
    records: Path, change: Callable[[bytes], bytes]
) -> None:
    path = records / "data_batch_5.bin"
    data = change(path.read_bytes())
    path.write_bytes(data)
    message = refusal(records)
    assert message.startswith(f"{path}: ")
    assert_golden("data/cifar10/records-not-whole", message, file=path, size=f"{len(data):,} bytes")


def test_a_record_with_a_label_of_10_is_refused(records: Path) -> None:
    path = records / "data_batch_1.bin"
    path.write_bytes(b"\x0a" + path.read_bytes()[1:])
    assert_golden("data/cifar10/record-with-label-10", refusal(records), file=path)


def calling(function: str, *arguments: Any, within: str | None = None) -> bytes:
    """A pickle, protocol 2, that calls `function`; `within` a batch, or instead of one."""
    module, _, name = function.rpartition(".")
    call = b"c" + f"{module}\n{name}\n".encode() + pickle.dumps(arguments, 2)[2:-1] + b"R"
    if within is None:
        return b"\x80\x02" + call + b"."
    return pickle.dumps(batch_of(5), 2)[:-1] + pickle.dumps(within, 2)[2:-1] + call + b"s."


def test_a_pickle_made_by_hand_here_runs_what_it_says_when_it_is_let(tmp_path: Path) -> None:
    """Otherwise the next test would show nothing."""
    pickle.loads(calling("os.mkdir", str(tmp_path / "ran"), within="labels"))
    assert (tmp_path / "ran").is_dir()


@pytest.mark.parametrize("within", [None, "labels", "more"])
@pytest.mark.parametrize(
    "function",
    [
        "os.mkdir",
        "posix.mkdir",
        "os.system",
        "builtins.open",
        "builtins.eval",
        "builtins.getattr",
        "numpy.load",
        "numpy.memmap",
        "numpy.core.multiarray.fromfile",
        "numpy.ndarray.tofile",
        "_codecs.decode",
    ],
)
def test_a_pickle_that_asks_for_anything_but_an_array_is_refused_by_name_and_nothing_runs(
    pickles: Path, tmp_path: Path, function: str, within: str | None
) -> None:
    (pickles / "test_batch").write_bytes(calling(function, str(tmp_path / "ran"), within=within))
    message = refusal(pickles)
    assert_golden("data/cifar10/pickle", message, file=pickles / "test_batch", function=function)
    assert not (tmp_path / "ran").exists()


def test_a_pickle_may_encode_text_as_latin1_and_as_nothing_else(pickles: Path) -> None:
    (pickles / "test_batch").write_bytes(calling("_codecs.encode", "text", "rot13", within="more"))
    assert_golden("data/cifar10/pickle-with-encoding", refusal(pickles), file=pickles / "test_batch")
    (pickles / "test_batch").write_bytes(calling("_codecs.encode", "text", "latin1", within="more"))
    load(str(pickles), validation_examples=10)


@pytest.mark.slow
def test_the_real_images_are_read_in_their_order_and_parted_into_disjoint_splits(cifar10_root: Path) -> None:
    (images, labels), (_, test_labels) = read(str(cifar10_root))
    assert labels[:10].tolist() == FIRST_OF_50000
    assert np.bincount(labels).tolist() == [5000] * 10
    assert np.bincount(test_labels).tolist() == [1000] * 10
    assert images.mean((0, 2, 3)) / 255 == pytest.approx([0.4914, 0.4822, 0.4465], abs=0.005)
    splits = load(str(cifar10_root))
    assert splits.test
    sizes = [len(split[1]) for split in (splits.train, splits.validation, splits.test)]
    assert sizes == [45_000, 5_000, 10_000]
    # No image is twice in the training files, so that the bytes of an image tell which one it is.
    written = {image.tobytes(): int(label) for image, label in zip(images, labels, strict=True)}
    parted = [
        (image.numpy().tobytes(), int(label))
        for split in (splits.train, splits.validation)
        for image, label in zip(*split, strict=True)
    ]
    assert len(written) == len({image for image, _ in parted}) == 50_000
    assert dict(parted) == written
