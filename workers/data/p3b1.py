"""CANDLE's P3B1: pathology reports as 400 numbers each, for three tasks with different documents.

The directory `data` of the archive P3B1_data.tar.gz, which CANDLE's benchmarks download, has for each task
and each of ten folds `task<task>_<fold>_test_feature.csv`, one document per line, and `..._test_label.csv`,
its class. The `train` files are not read: they have 300 documents of every class, however rare it is, and
some copies of the archive lack their features. Training uses the test files of other folds instead.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from evodevo.errors import UsageError
from workers.workload import Batch, Splits

TASKS = {"site": 13, "laterality": 2, "grade": 4}
"""The tasks in the order of the files' numbers, and their numbers of classes."""
FEATURES = 400
FOLDS = 10
SPLIT_SEED = 2017
HOW = (
    "expected: the directory data of CANDLE's P3B1_data.tar.gz, with task{0,1,2}_{0..9}_test_feature.csv "
    "and ..._test_label.csv"
)


def load(
    root: str | None,
    tasks: Sequence[str] = tuple(TASKS),
    fold: int = 0,
    test_folds: int = 1,
    validation_examples: int = 200,
) -> Splits:
    """Read the documents from `root`, the directory p3b1, its parent, or its directory `data`.

    A split is documents, float32 (n, 400), classes, int64 (n,), and the numbers of their tasks among `tasks`,
    int64 (n,). The test files of `test_folds` folds, from `fold` on, are the test split. Of each task's other
    documents in a fixed random order the first `validation_examples` are for validation, the others for
    training. Duplicate documents are used once, in the test split if they occur there.
    Raises `UsageError` if files are missing or damaged, or for impossible sizes.
    """
    if root is None:
        raise UsageError(f"data.root: is missing, and P3B1 needs a directory; {HOW}")
    _check(tasks, fold, test_folds, validation_examples)
    base = Path(root, "p3b1") if Path(root, "p3b1").is_dir() else Path(root)
    base = base / "data" if (base / "data").is_dir() else base

    tested = [(fold + more) % FOLDS for more in range(test_folds)]
    rest = [number for number in range(FOLDS) if number not in tested]
    parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"train": [], "validation": [], "test": []}
    for name in tasks:
        test = read_folds(base, name, tested)
        documents, classes = read_folds(base, name, rest)
        seen = {document.tobytes() for document in test[0]}
        new = [place for place, document in enumerate(documents) if document.tobytes() not in seen]
        order = np.random.default_rng(SPLIT_SEED).permutation(new)
        if validation_examples >= len(order):
            raise UsageError(
                f"workload.options.validation_examples: should be less than {len(order):,}, the documents of "
                f"{name} outside the test folds, not {validation_examples:,}"
            )
        parts["test"].append(test)
        for split, chosen in zip(
            ("validation", "train"), np.split(order, [validation_examples]), strict=True
        ):
            parts[split].append((documents[chosen], classes[chosen]))
    return Splits(**{split: _tensors(found) for split, found in parts.items()})


def read_folds(base: Path, task: str, folds: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the unique documents of the folds' test files, float32 (n, 400), and classes, int64 (n,)."""
    found = [read_fold(base, task, fold) for fold in folds]
    documents = np.concatenate([documents for documents, _ in found])
    first = np.sort(np.unique(documents, axis=0, return_index=True)[1])
    return documents[first], np.concatenate([classes for _, classes in found])[first]


def read_fold(base: Path, task: str, fold: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a test file's documents, float32 (n, 400), and their classes, int64 (n,)."""
    name = f"task{list(TASKS).index(task)}_{fold}_test"
    documents = _read_numbers(base / f"{name}_feature.csv")
    labels = _read_numbers(base / f"{name}_label.csv")
    if documents.shape[1] != FEATURES:
        raise UsageError(
            f"{base / name}_feature.csv: has {documents.shape[1]} numbers per line instead of {FEATURES}"
        )
    if labels.shape != (len(documents), 1):
        raise UsageError(
            f"{base / name}_label.csv: has {len(labels)} lines of {labels.shape[1]} for "
            f"{len(documents)} documents, instead of one class for each"
        )
    classes = labels[:, 0].astype(np.int64)
    if not np.array_equal(classes, labels[:, 0]) or not 0 <= classes.min() <= classes.max() < TASKS[task]:
        raise UsageError(
            f"{base / name}_label.csv: has classes other than 0 to {TASKS[task] - 1}, those of {task}"
        )
    return documents.astype(np.float32), classes


def _check(tasks: Sequence[str], fold: int, test_folds: int, validation_examples: int) -> None:
    if not tasks or len(set(tasks)) < len(tasks) or not set(tasks) <= TASKS.keys():
        raise UsageError(
            f"workload.options.tasks: should be one or more of {', '.join(TASKS)}, each once, "
            f"not {', '.join(map(str, tasks)) or 'none'}"
        )
    if not 0 <= fold < FOLDS:
        raise UsageError(f"workload.options.fold: should be 0 to {FOLDS - 1}, not {fold}")
    if not 1 <= test_folds < FOLDS:
        raise UsageError(f"workload.options.test_folds: should be 1 to {FOLDS - 1}, not {test_folds}")
    if validation_examples < 1:
        raise UsageError(
            f"workload.options.validation_examples: should be 1 or more, not {validation_examples}"
        )


def _read_numbers(path: Path) -> np.ndarray:
    try:
        found = np.loadtxt(path, delimiter=",", ndmin=2)
    except FileNotFoundError:
        raise UsageError(f"data.root: {path.parent} has no {path.name}; {HOW}") from None
    except ValueError as why:
        raise UsageError(f"{path}: is not a table of numbers: {why}") from None
    if not len(found) or not np.isfinite(found).all():
        raise UsageError(f"{path}: is not a table of numbers: it is empty, or has values that are not finite")
    return found


def _tensors(parts: list[tuple[np.ndarray, np.ndarray]]) -> Batch:
    tasks = [np.full(len(classes), number) for number, (_, classes) in enumerate(parts)]
    documents, classes = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return torch.from_numpy(documents), torch.from_numpy(classes), torch.from_numpy(np.concatenate(tasks))
