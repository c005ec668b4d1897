"""Training on a real GPU: finite, repeatable bit for bit, and portable to the CPU."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.workers.made_images import HYPERPARAMETERS, NETWORKS, bands, prepared
from tests.workers.test_side_by_side import carried_out, members, what_came
from tests.workers.toys import Toy, job, section
from workers import preload
from workers.devices import Claim
from workers.images import ImageClassifier
from workers.workload import Splits, Training

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]

SPLITS = Splits(bands(512, 32), bands(100, 32, seed=1))


@pytest.fixture(autouse=True)
def as_in_a_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The settings of `workers.preload`."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("warn")
    yield
    torch.set_deterministic_debug_mode(before)


def on(device: str, network: str = "resnet20", **options: object) -> ImageClassifier:
    return prepared(NETWORKS[network], SPLITS, torch.device(device), pixels=32, batch_size=32, **options)


def trained(workload: ImageClassifier, parent: bytes | None = None) -> bytes:
    training = workload.begin(HYPERPARAMETERS, 7, parent)
    list(workload.train(training))
    return workload.checkpoint(training)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_epoch_of_resnet20_has_finite_losses_and_ends_below_where_it_began(precision: str) -> None:
    workload = on("cuda", precision=precision)
    training = workload.begin(HYPERPARAMETERS, 7, None)
    losses = torch.stack([loss for _ in range(3) for loss in workload.train(training)])
    assert losses.device.type == "cuda"
    assert losses.isfinite().all()
    assert losses[-16:].mean() < losses[:16].mean()
    assert all(math.isfinite(value) for value in workload.evaluate(training, "validation").values())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_member_that_is_trained_twice_is_the_same_bit_for_bit(network: str, precision: str) -> None:
    workload = on("cuda", network, precision=precision)
    first = trained(workload)
    assert trained(workload) == first
    assert trained(workload, first) == trained(workload, first) != first


@pytest.mark.parametrize("written_on, read_on", [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_checkpoint_is_the_same_on_the_other_device(written_on: str, read_on: str) -> None:
    writer, reader = on(written_on, precision="float32"), on(read_on, precision="float32")
    written = trained(writer)
    restored = reader.begin(HYPERPARAMETERS, 7, written)
    assert reader.checkpoint(restored) == written
    there = writer.evaluate(writer.begin(HYPERPARAMETERS, 7, written), "validation")
    here = reader.evaluate(restored, "validation")
    assert here["validation_loss"] == pytest.approx(there["validation_loss"], rel=0.05)
    assert trained(reader, written) != written


def test_members_that_take_turns_on_streams_of_their_own_are_bit_for_bit_what_they_are_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preload, "_claim", Claim("0"))
    about = job(tmp_path, section("tests.workers.test_side_by_side:FewDigits"))
    given = members(4, max_shift=2)
    assert what_came(carried_out(about, given, 3)) == what_came(carried_out(about, given, 1))


def test_a_member_that_does_not_fit_beside_another_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preload, "_claim", Claim("0"))
    about = job(tmp_path, section("tests.gpu.test_training:Large"))
    told = carried_out(about, members(2), 2)
    assert [status for status, *_ in what_came(told)] == ["done", "done"]
    assert any("no memory was left" in note for one in told.values() for note in one["outcome"]["notes"])


class Large(Toy):
    """A member that holds more than half of the memory that is free when the first one begins."""

    half: int | None = None

    def setup(self, training: Training) -> None:
        if self.half is None:
            self.half = torch.cuda.mem_get_info()[0] * 6 // 10
        training.block = torch.empty(self.half, dtype=torch.uint8, device=self.device)  # type: ignore[attr-defined]
