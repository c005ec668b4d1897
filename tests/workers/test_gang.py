"""Members that two processes train together, beside what one process makes of the same batches."""

import copy
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from evodevo.errors import UsageError
from tests.golden import raises_golden
from tests.workers.gang_kinds import KINDS, SIZE, Sharp, trained
from tests.workers.toys import HYPERPARAMETERS, Toy, prepared
from workers import batches, gang
from workers.gang import Gang
from workers.training import Leg, Training
from workers.workload import Batch, Splits

REPOSITORY = Path(__file__).resolve().parents[2]
Results = Mapping[str, Mapping[str, Tensor]]
OF_SHARES = {"Normed", "Dropping"}
"""Kinds whose steps depend on the shares."""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    """What each of two processes came to."""
    directory = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "tests.workers.gang_kinds"]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(directory / "store"), str(directory / f"{rank}.pt")], cwd=REPOSITORY
        )
        for rank in range(SIZE)
    ]
    assert [process.wait(120) for process in processes] == [0] * SIZE
    return [torch.load(directory / f"{rank}.pt", weights_only=True) for rank in range(SIZE)]


def equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor], but: str = "") -> bool:
    return all(torch.equal(one[name], other[name]) for name in one if not (but and but in name))


def close(one: Mapping[str, Tensor], other: Mapping[str, Tensor], tolerance: float) -> bool:
    return all(
        torch.allclose(one[name].float(), other[name].float(), rtol=tolerance, atol=tolerance) for name in one
    )


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_come_to_the_same_parameters_and_losses_each_time(
    ranks: list[Results], kind: str
) -> None:
    for batch_norm in ("local", "synchronised"):
        running = "running" if kind == "Normed" and batch_norm == "local" else ""
        first, second = (ranks[rank][f"{kind} {batch_norm} 0"] for rank in range(SIZE))
        assert equal(first, second, but=running)
        assert all(equal(each[f"{kind} {batch_norm} 0"], each[f"{kind} {batch_norm} 1"]) for each in ranks)


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - OF_SHARES))
def test_two_processes_come_close_to_one_with_the_same_batches(ranks: list[Results], kind: str) -> None:
    alone = trained(kind, None)
    together = ranks[0][f"{kind} local 0"]
    tolerance = 3e-2 if "16" in kind else 1e-5
    assert close(together, alone, tolerance)
    assert together.keys() == alone.keys()
    assert len(together["losses"]) == len(alone["losses"])


def test_synchronised_batch_norm_is_that_of_one_process_and_local_is_not(ranks: list[Results]) -> None:
    alone = trained("Normed", None)
    assert close(ranks[0]["Normed synchronised 0"], alone, 1e-4)
    assert not close(ranks[0]["Normed local 0"], alone, 1e-2)
    variances = [each["Normed local 0"]["model.1.running_var"] for each in ranks]
    assert not torch.equal(*variances)


def test_a_model_whose_batch_norm_is_synchronised_can_be_copied_and_is_its_own_again_afterwards() -> None:
    workload = prepared(Toy())
    training = workload.begin(HYPERPARAMETERS, 1, None, Leg())
    inputs = torch.rand(8, 4)
    plain = copy.deepcopy(training.model)
    before = training.model.state_dict().keys()
    with gang.in_force(Gang(0, 2, "synchronised")) as together:
        together.join(training, 1, workload.device)
        again = copy.deepcopy(training.model)
        assert again.state_dict().keys() == before
        assert all(isinstance(one[1], nn.BatchNorm1d) for one in (training.model, again))
        torch.testing.assert_close(again[:2](inputs), plain[:2](inputs))
        torch.testing.assert_close(again[1].running_var, plain[1].running_var)
    assert torch.equal(again.eval()(inputs), copy.deepcopy(again).eval()(inputs))
    assert torch.equal(training.model.train()[:2](inputs), plain_of(training.model)[:2](inputs))


def plain_of(model: nn.Module) -> nn.Module:
    """The same network, with torch's own batch norm."""
    plain = Toy().model()
    plain.load_state_dict(model.state_dict())
    return plain


def test_ranks_draw_different_random_numbers_in_a_step(ranks: list[Results]) -> None:
    """If all ranks dropped the same units, the loss would be that of one process which does."""
    workload = KINDS["Dropping"]()
    workload.prepare(torch.device("cpu"), None)
    draws = []
    for rank in range(SIZE):
        training = workload.begin({"learning_rate": 0.05}, 5, None, Leg())
        together = Gang(rank, SIZE)
        together.join(training, 5, workload.device)
        shares = together.shares(workload, training)
        batch = next(shares)
        draws.append((torch.rand(3), batch))
        shares.close()
    (one, first), (other, second) = draws
    assert not torch.equal(one, other)
    whole = next(iter(workload.train_batches(workload.begin({"learning_rate": 0.05}, 5, None, Leg()))))
    assert torch.equal(torch.cat([first[0], second[0]]), whole[0])


@pytest.mark.parametrize("count, size", [(12, 3), (7, 2), (5, 5)])
def test_the_shares_of_a_batch_are_the_batch(count: int, size: int) -> None:
    batch = {"inputs": torch.arange(count), "more": (torch.rand(count, 3), None)}
    shares = [batches.share(batch, rank, size) for rank in range(size)]
    assert torch.equal(torch.cat([share["inputs"] for share in shares]), batch["inputs"])
    assert torch.equal(torch.cat([share["more"][0] for share in shares]), batch["more"][0])
    assert max(map(len, (s["inputs"] for s in shares))) - min(map(len, (s["inputs"] for s in shares))) <= 1


@pytest.mark.parametrize(
    ("name", "batch"),
    [
        ("lengths-differ", (torch.rand(4, 2), torch.rand(3))),
        ("scalar", (torch.rand(4, 2), torch.tensor(1.0))),
        ("texts", (torch.rand(4, 2), ["a", "b", "c", "d"])),
        ("empty", []),
        ("one-example", (torch.rand(1, 2),)),
    ],
)
def test_a_batch_that_cannot_be_shared_is_refused(name: str, batch: Batch) -> None:
    with raises_golden(f"gang/batch/{name}", UsageError):
        batches.share(batch, 0, 2)


class OwnStep(Toy):
    def step(self, training: Training, batch: Batch) -> Tensor:
        return super().step(training, batch)


class OwnTrain(Toy):
    def train(self, training: Training) -> object:  # type: ignore[override]
        return super().train(training)


class Closure(Toy):
    def optimizer(self, model: nn.Module, hp: object) -> torch.optim.Optimizer:
        return torch.optim.LBFGS(model.parameters())


class Loaded(Toy):
    def data(self, root: str | None) -> Splits:
        split = super().data(root)
        examples = list(zip(*split.train, strict=True))
        return Splits(DataLoader(examples, batch_size=9, shuffle=True), split.validation)  # type: ignore[arg-type]


class Lists(Toy):
    def train_batches(self, training: Training) -> object:  # type: ignore[override]
        return ((list(inputs), labels) for inputs, labels in super().train_batches(training))


class OwnShare(Lists):
    def batch_length(self, batch: Batch) -> int:
        return len(batch[1])

    def share(self, batch: Batch, rank: int, size: int) -> Batch:
        return batches.share((torch.stack(batch[0]), batch[1]), rank, size)


class HalfShare(Toy):
    def share(self, batch: Batch, rank: int, size: int) -> Batch:
        return batches.share(batch, 0, size + 1)


class SparseEmbedding(Toy):
    def model(self) -> nn.Module:
        return nn.Sequential(nn.Embedding(10, 3, sparse=True), nn.Flatten())

    def loss(self, model: nn.Module, batch: Batch, hp: object) -> Tensor:
        return model(batch[1]).square().mean()


@pytest.mark.parametrize(
    ("name", "workload"),
    [
        ("own-step", OwnStep()),
        ("own-train", OwnTrain()),
        ("closure", Closure()),
        ("loader", Loaded()),
        ("odd-batch", Toy(15)),
        ("lists", Lists()),
        ("half-share", HalfShare()),
        ("sparse", SparseEmbedding()),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Toy) else "",
)
def test_a_workload_that_two_workers_would_get_wrong_is_refused(name: str, workload: Toy) -> None:
    with raises_golden(f"gang/workload/{name}", UsageError):
        gang.rehearse(prepared(workload), 2, "local", HYPERPARAMETERS, Leg())


def test_a_program_is_refused() -> None:
    with raises_golden("gang/program", UsageError):
        gang.rehearse(object(), 2, "local", {}, Leg())


@pytest.mark.parametrize("workload", [Toy(), OwnShare()], ids=["Toy", "OwnShare"])
def test_a_workload_that_workers_can_train_together_passes_after_a_step_of_one_share(
    workload: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []

    def loss(model: nn.Module, batch: Batch, hp: object) -> Tensor:
        lengths.append(len(batch[1]))
        return type(workload).loss(workload, model, batch, hp)  # type: ignore[arg-type]

    prepared(workload)
    monkeypatch.setattr(workload, "loss", loss)
    for batch_norm in ("local", "synchronised"):
        gang.rehearse(workload, 4, batch_norm, HYPERPARAMETERS, Leg())
    assert lengths == [workload.batch_size // 4] * 2


def test_parameters_that_are_not_the_same_everywhere_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    together = Gang(0, 2)
    model = nn.Linear(2, 2)
    together.check(model)

    def other_rank(tensor: Tensor, operation: object) -> None:
        if operation == torch.distributed.ReduceOp.MAX:
            tensor[1] += 1

    monkeypatch.setattr(together, "_all_reduce", other_rank)
    with raises_golden("gang/parameters-differ", RuntimeError):
        together.check(model)


def test_a_gang_that_nobody_else_is_in_trains_its_share_alone() -> None:
    workload = prepared(Sharp())
    training = workload.begin({"learning_rate": 0.05}, 1, None, Leg())
    Gang(1, 2).join(training, 1, workload.device)
    assert len(list(workload.train(training))) == 5
    assert gang.current() is None
