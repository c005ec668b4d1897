"""Whether a workload can start from the parameters of another run."""

from pathlib import Path

import pytest
import torch
from torch import nn

from evodevo.errors import UsageError
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.records import CheckpointRef
from tests.workers.states import encode
from tests.workers.toys import HYPERPARAMETERS, TOY, Toy, job
from workers.start import LONGEST, try_start


def published(directory: Path, model: nn.Module) -> tuple[str, CheckpointRef]:
    url = str(directory / "other")
    data = encode(model, torch.optim.SGD(model.parameters(), 0.1))
    return url, CheckpointStore(url).publish("g000s000-a1", data)


def test_parameters_that_fit_are_tried_without_a_word_and_without_a_file(tmp_path: Path) -> None:
    where = published(tmp_path, Toy().model())
    assert try_start(job(tmp_path / "run"), HYPERPARAMETERS, *where) == []
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_parameters_of_another_network_are_refused_in_one_line(tmp_path: Path) -> None:
    deep = nn.Sequential(*(nn.Linear(2, 2) for _ in range(40)))
    with pytest.raises(UsageError) as refused:
        try_start(job(tmp_path / "run"), HYPERPARAMETERS, *published(tmp_path, deep))
    told = str(refused.value)
    begins = f"search.start: {TOY} cannot begin with these parameters: RuntimeError: Error(s) in loading"
    assert told.startswith(begins)
    assert "\n" not in told
    assert len(told) < len(begins) + LONGEST + 300


def test_a_checkpoint_that_the_worker_does_not_see_is_a_warning(tmp_path: Path) -> None:
    _, ref = published(tmp_path, Toy().model())
    (warning,) = try_start(job(tmp_path / "run"), HYPERPARAMETERS, str(tmp_path / "elsewhere"), ref)
    assert warning.startswith("search.start was not tried, as the worker cannot read its checkpoint: ")
