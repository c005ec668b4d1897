"""P3B1's documents: made ones in the archive's layout, and the real ones."""

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evodevo.errors import UsageError
from tests.golden import assert_golden
from tests.workers.conftest import SHARED_DATA
from workers.data.p3b1 import FEATURES, FOLDS, HOW, TASKS, load
from workers.workload import Batch, Splits

ARCHIVE = SHARED_DATA / "p3b1" / "p3b1_data.tar.xz"
PER_FOLD = 4


def write(path: Path, rows: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, rows, delimiter=",")


def document(task: int, fold: int, place: int) -> np.ndarray:
    """It bears its task, fold and place in its first numbers, then a 10 in that of its class."""
    found = np.zeros(FEATURES)
    found[:3] = task, fold, place
    found[3 + (fold + place) % list(TASKS.values())[task]] = 10
    return found


def made(root: Path) -> Path:
    """`PER_FOLD` documents for each task and fold, classes going round."""
    for task, classes in enumerate(TASKS.values()):
        for fold in range(FOLDS):
            path = root / "p3b1" / "data" / f"task{task}_{fold}_test"
            write(
                path.with_name(f"{path.name}_feature.csv"),
                np.stack([document(task, fold, place) for place in range(PER_FOLD)]),
            )
            write(path.with_name(f"{path.name}_label.csv"), (fold + np.arange(float(PER_FOLD))) % classes)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return made(tmp_path)


def refusal(root: Path | None, **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        load(root and str(root), **{"validation_examples": 8, **options})
    return str(caught.value)


def marks(split: Batch) -> list[tuple[int, ...]]:
    """Task, fold and place that the documents bear."""
    return [tuple(row) for row in split[0][:, :3].long().tolist()]


def every(splits: Splits) -> list[Batch]:
    return [splits.train, splits.validation, splits.test]


def test_a_fold_s_own_files_are_the_test_split_and_no_document_is_in_two_splits(root: Path) -> None:
    train, validation, test = every(load(str(root), fold=3, validation_examples=8))
    assert sorted(marks(test)) == [(task, 3, place) for task in range(3) for place in range(PER_FOLD)]
    assert len(marks(validation)) == 3 * 8
    others = {(task, fold, place) for task in range(3) for fold in range(FOLDS) for place in range(PER_FOLD)}
    assert sorted(marks(train) + marks(validation) + marks(test)) == sorted(others)


def test_test_folds_go_round_from_the_last_fold_to_the_first(root: Path) -> None:
    splits = load(str(root), fold=9, test_folds=2, validation_examples=8)
    assert {fold for _, fold, _ in marks(splits.test)} == {9, 0}


def test_each_document_keeps_its_class_and_its_task(root: Path) -> None:
    for documents, classes, tasks in every(load(str(root), validation_examples=8)):
        assert (documents.shape[1], documents.dtype) == (FEATURES, torch.float32)
        assert (classes.dtype, tasks.dtype) == (torch.int64, torch.int64)
        for (task, fold, place), label, number in zip(
            marks((documents,)), classes.tolist(), tasks.tolist(), strict=True
        ):
            assert number == task
            assert label == (fold + place) % list(TASKS.values())[task]


def test_tasks_are_numbered_as_they_are_named_and_others_are_not_read(root: Path) -> None:
    for path in (root / "p3b1" / "data").glob("task1_*"):
        path.unlink()
    splits = load(str(root), tasks=["grade", "site"], validation_examples=8)
    for split in every(splits):
        assert {(int(task), mark[0]) for task, mark in zip(split[2], marks(split), strict=True)} == {
            (0, 2),
            (1, 0),
        }


def test_a_document_that_is_there_twice_counts_once_and_in_the_test_split_if_it_is_there(root: Path) -> None:
    for fold in (5, 6):  # 0 is the fold to test
        rows = np.stack([document(0, 0, 0), document(0, 9, 0), document(0, fold, 2), document(0, fold, 3)])
        write(root / "p3b1" / "data" / f"task0_{fold}_test_feature.csv", rows)
    splits = load(str(root), tasks=["site"], validation_examples=8)
    trained = marks(splits.train) + marks(splits.validation)
    assert (0, 0, 0) in marks(splits.test)
    assert len(set(trained)) == len(trained) == 9 * PER_FOLD - 4
    assert not set(trained) & set(marks(splits.test))


@pytest.mark.parametrize("inside", ["p3b1", "p3b1/data"])
def test_the_directory_itself_its_data_or_the_one_that_holds_it_is_the_root(root: Path, inside: str) -> None:
    one, other = (load(str(path), validation_examples=8) for path in (root, root / inside))
    assert torch.equal(one.train[0], other.train[0])


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("fold-10", "fold", 10),
        ("fold-negative", "fold", -1),
        ("test-folds", "test_folds", 10),
        ("validation-0", "validation_examples", 0),
        ("validation-36", "validation_examples", 36),
        ("no-tasks", "tasks", []),
        ("task-twice", "tasks", ["site", "site"]),
        ("unknown-task", "tasks", ["behaviour"]),
    ],
    ids=str,
)
def test_options_that_cannot_be_are_refused_by_name(root: Path, name: str, option: str, value: Any) -> None:
    message = refusal(root, **{option: value})
    assert message.startswith(f"workload.options.{option}: ")
    assert_golden(f"data/p3b1/options/{name}", message)


def test_without_a_root_it_says_what_is_expected() -> None:
    message = refusal(None)
    assert message.startswith("data.root: ")
    assert message.endswith(f"; {HOW}")
    assert_golden("data/p3b1/no-root", message)


@pytest.mark.parametrize("kind", ["feature", "label"])
def test_a_missing_file_is_named_with_the_layout_that_is_expected(root: Path, kind: str) -> None:
    directory = root / "p3b1" / "data"
    (directory / f"task2_7_test_{kind}.csv").unlink()
    message = refusal(root)
    assert message.startswith(f"data.root: {directory} ")
    assert_golden("data/p3b1/file-missing", message, root, file=f"task2_7_test_{kind}.csv")


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("html", "feature", "<html>"),
        ("empty", "feature", ""),
        ("two-numbers", "feature", "1,2\n" * PER_FOLD),
        ("three-labels", "label", "0\n" * 3),
        ("label-13", "label", "0\n1\n2\n13\n"),
        ("label-half", "label", "0\n1\n2\n0.5\n"),
        ("label-nan", "label", "0\n1\n2\nnan\n"),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_a_damaged_file_is_refused_by_name(root: Path, name: str, kind: str, text: str) -> None:
    path = root / "p3b1" / "data" / f"task0_4_test_{kind}.csv"
    path.write_text(text)
    message = refusal(root)
    assert f"{path}: " in message
    assert_golden(f"data/p3b1/damaged/{name}", message, root)


@pytest.mark.skipif(not ARCHIVE.is_file(), reason=f"the documents of P3B1 are not in {ARCHIVE}")
def test_the_real_documents_are_read_and_few_are_there_twice(tmp_path: Path) -> None:
    with tarfile.open(ARCHIVE) as tar:
        tar.extractall(tmp_path, filter="data")
    splits = load(str(tmp_path), fold=0, validation_examples=100)
    assert splits.test[2].bincount().tolist() == [99, 86, 68]
    assert (splits.train[2].bincount() + 100).tolist() == [867, 751, 590]
    for number, classes in enumerate(TASKS.values()):
        assert set(splits.train[1][splits.train[2] == number].tolist()) == set(range(classes))
