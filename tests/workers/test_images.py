"""What every network for CIFAR-10 does with its images, its precision and its checkpoints."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from evodevo.config_file import load
from evodevo.errors import UsageError
from tests.workers.conftest import REPOSITORY
from tests.workers.made_images import CPU, HYPERPARAMETERS, NETWORKS, Seen, bands, prepared
from workers.build import build
from workers.data import cifar10
from workers.hyperparameters import Hyperparameters
from workers.images import ImageClassifier, decayed_kernels, mean_image
from workers.workload import Leg, Splits, Training
from workers.workloads.resnet20 import ResNet20

Make = Callable[..., ImageClassifier]
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
HP = Hyperparameters(HYPERPARAMETERS)


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS)
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


def train(workload: ImageClassifier, training: Training, epochs: int = 1) -> list[float]:
    return [float(loss) for _ in range(epochs) for loss in workload.train(training)]


def spots(count: int, pixels: int) -> Splits:
    """Black images with one white pixel, to the left of the middle."""
    images = torch.zeros(count, 3, pixels, pixels, dtype=torch.uint8)
    images[:, :, pixels // 2, pixels // 2 - 4] = 255
    return Splits((images, torch.zeros(count, dtype=torch.int64)), bands(10, pixels))


@pytest.mark.parametrize("pixels", [16, 32])
def test_a_network_takes_images_of_either_size_and_gives_ten_scores(make: Make, pixels: int) -> None:
    workload = prepared(make, pixels=pixels)
    assert workload.model()(torch.rand(3, 3, pixels, pixels)).shape == (3, 10)
    losses = train(workload, workload.begin(HYPERPARAMETERS, 0, None))
    assert len(losses) == 4
    assert all(0 < loss < 10 for loss in losses)


def test_it_overfits_64_images(make: Make) -> None:
    known = bands(64)
    workload = prepared(make, Splits(known, known))
    training = workload.begin(HYPERPARAMETERS, 0, None)
    before = workload.evaluate(training, "validation")
    train(workload, training, 40)
    after = workload.evaluate(training, "validation")
    assert before["validation_error"] > 0.6
    assert after["validation_error"] < 0.05
    assert after["validation_loss"] < 0.2 * before["validation_loss"]


@pytest.mark.parametrize("options", [{}, {"precision": "bfloat16"}], ids=["float32", "bfloat16"])
def test_going_on_from_a_checkpoint_is_bit_for_bit_as_not_having_stopped(
    make: Make, options: dict[str, Any]
) -> None:
    workload = prepared(make, **options)
    unbroken = workload.begin(HYPERPARAMETERS, 1, None)
    train(workload, unbroken)
    saved = workload.checkpoint(unbroken)

    unbroken.generator = workload.begin(HYPERPARAMETERS, 2, None).generator  # the epoch's random numbers
    first = train(workload, unbroken)
    resumed = workload.begin(HYPERPARAMETERS, 2, saved)
    assert train(workload, resumed) == first
    assert workload.checkpoint(resumed) == workload.checkpoint(unbroken)
    assert workload.checkpoint(resumed) != saved


def test_the_resnet_s_momentum_too_continues_from_a_checkpoint_bit_for_bit() -> None:
    test_going_on_from_a_checkpoint_is_bit_for_bit_as_not_having_stopped(
        ResNet20, {"optimizer": "sgd", "shortcut": "projection"}
    )


def test_what_is_restored_has_the_layout_of_what_was_never_stored(make: Make) -> None:
    workload = prepared(make)
    unbroken = workload.begin(HYPERPARAMETERS, 1, None)
    train(workload, unbroken)
    resumed = workload.begin(HYPERPARAMETERS, 2, workload.checkpoint(unbroken))

    def strides(training: Training) -> list[dict[str, tuple[int, ...]]]:
        state = training.optimizer.state
        return [
            {name: tensor.stride() for name, tensor in {"": parameter, **state[parameter]}.items()}
            for parameter in training.model.parameters()
        ]

    assert strides(resumed) == strides(unbroken)
    kernels = [kernel for kernel in resumed.model.parameters() if kernel.ndim == 4]
    assert kernels
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


def test_the_average_has_the_layout_of_the_network_also_when_it_is_restored(make: Make) -> None:
    workload, leg = prepared(make), Leg(average_half_life=1.0)
    fresh = workload.begin(HYPERPARAMETERS, 1, None, leg)
    restored = workload.begin(HYPERPARAMETERS, 2, workload.checkpoint(fresh), leg)
    for training in (fresh, restored):
        assert training.judged is not training.model
        pairs = zip(training.judged.parameters(), training.model.parameters(), strict=True)
        assert all(own.stride() == new.stride() for own, new in pairs)
        kernels = [kernel for kernel in training.judged.parameters() if kernel.ndim == 4]
        assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


def test_the_same_seed_trains_the_same_and_another_one_otherwise(make: Make) -> None:
    workload = prepared(make)
    first, again, other = (train(workload, workload.begin(HYPERPARAMETERS, s, None)) for s in (1, 1, 2))
    assert first == again != other


def test_the_mean_is_that_of_the_training_images_alone() -> None:
    black, white = torch.zeros(3, 3, 16, 16, dtype=torch.uint8), torch.full((3, 3, 16, 16), 255).byte()
    some = black.clone()
    some[0, 1, 2, 3], some[1, 1, 2, 3] = 255, 51
    labels = torch.zeros(3, dtype=torch.int64)
    workload = prepared(ResNet20, Splits((some, labels), (white, labels), (white, labels)))
    expected = torch.zeros(3, 16, 16)
    expected[1, 2, 3] = (1 + 0.2) / 3
    torch.testing.assert_close(workload.mean, expected)


def test_a_mean_is_exact_however_many_images_there_are() -> None:
    images = torch.full((2500, 3, 4, 4), 255, dtype=torch.uint8)
    images[::2] = 254
    assert torch.equal(mean_image(images), torch.full((3, 4, 4), 254.5 / 255))


def test_in_evaluation_an_image_is_scaled_less_the_mean_and_neither_moved_nor_mirrored(make: Make) -> None:
    workload, seen = prepared(make), Seen()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    workload.metrics(seen, workload.splits.validation)
    expected = workload.splits.validation[0] / 255 - workload.mean
    torch.testing.assert_close(seen.inputs[0], expected)
    assert seen.inputs[0].dtype == torch.float32
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("pixels", "furthest"), [(32, 3), (16, 2)])
def test_training_images_are_moved_by_a_tenth_at_most_and_half_are_mirrored(
    make: Make, pixels: int, furthest: int
) -> None:
    workload, seen = prepared(make, spots(2000, pixels), pixels=pixels), Seen()
    workload.mean = torch.zeros_like(workload.mean)
    torch.manual_seed(0)
    workload.loss(seen, workload.augmented(workload.splits.train, HP), HP)
    places = [divmod(int(place), pixels) for place in seen.inputs[0][:, 0].flatten(1).argmax(1)]
    moves = range(-furthest, furthest + 1)
    left = pixels // 2 - 4
    rows, columns = {pixels // 2 + move for move in moves}, {left + move for move in moves}
    assert {row for row, _ in places} == rows
    assert {column for _, column in places} == columns | {pixels - 1 - column for column in columns}
    assert 900 < sum(column >= pixels // 2 for _, column in places) < 1100


def test_a_network_is_given_channels_last_images_in_training_and_evaluation(make: Make) -> None:
    workload, seen = prepared(make), Seen()
    workload.loss(seen, workload.augmented(workload.splits.train, HP), HP)
    workload.metrics(seen, workload.splits.validation)
    assert len(seen.inputs) == 2
    assert all(images.is_contiguous(memory_format=torch.channels_last) for images in seen.inputs)


def test_images_stay_on_the_device_as_bytes(make: Make) -> None:
    workload = prepared(make)
    train(workload, workload.begin(HYPERPARAMETERS, 0, None))
    assert workload.splits.train[0].dtype == workload.splits.validation[0].dtype == torch.uint8


def test_the_error_is_the_part_that_is_wrong(make: Make) -> None:
    workload = prepared(make)
    training = workload.begin(HYPERPARAMETERS, 0, None)
    images, labels = workload.splits.validation
    with torch.no_grad():
        chosen = training.model.eval()(images / 255 - workload.mean).argmax(1)
    error = workload.evaluate(training, "validation")["validation_error"]
    assert error == pytest.approx(1 - int((chosen == labels).sum()) / len(labels), abs=1e-12)
    assert 0 < error < 1


def test_bfloat16_is_close_to_float32_in_training_and_not_the_same(make: Make) -> None:
    losses = [
        train(workload, workload.begin(HYPERPARAMETERS, 0, None))
        for workload in (prepared(make, precision=name) for name in ("float32", "bfloat16"))
    ]
    assert losses[0][0] == pytest.approx(losses[1][0], rel=0.01)
    assert losses[0] == pytest.approx(losses[1], rel=0.1)
    assert losses[0] != losses[1]


def test_the_loss_is_float32_of_the_rounded_scores() -> None:
    workload = prepared(ResNet20, precision="bfloat16")
    torch.manual_seed(0)
    loss = workload.loss(workload.model(), workload.augmented(workload.splits.train, HP), HP)
    assert loss.dtype == torch.float32
    assert float(loss.detach()) != float(loss.detach().bfloat16())


def test_parameters_and_evaluation_are_float32_whatever_the_precision_of_training(make: Make) -> None:
    single, half = prepared(make, precision="float32"), prepared(make, precision="bfloat16")
    training = half.begin(HYPERPARAMETERS, 0, None)
    train(half, training)
    assert {parameter.dtype for parameter in training.model.parameters()} == {torch.float32}
    assert half.evaluate(training, "validation") == single.evaluate(training, "validation")


@pytest.mark.parametrize(
    ("precision", "device", "supported", "expected"),
    [
        (None, "cpu", True, False),
        (None, "cuda", True, True),
        (None, "cuda", False, False),
        ("float32", "cuda", True, False),
        ("bfloat16", "cuda", False, True),
        ("bfloat16", "cpu", False, True),
    ],
)
def test_without_a_precision_bfloat16_is_for_gpus_that_have_it(
    monkeypatch: pytest.MonkeyPatch, precision: str | None, device: str, supported: bool, expected: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    workload = ResNet20(precision=precision)  # type: ignore[arg-type]
    workload.device = torch.device(device)
    assert workload.casts_to() is (torch.bfloat16 if expected else None)


def test_only_kernels_decay(make: Make) -> None:
    workload = prepared(make)
    model = workload.model()
    optimizer = workload.optimizer(model, Hyperparameters({"learning_rate": 0.1, "weight_decay": 0.02}))
    names = {parameter: name for name, parameter in model.named_parameters()}
    decays = {
        names[parameter]: group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert len(decays) == len(names)
    kernels = {
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    assert {name for name, decay in decays.items() if decay == 0.02} == kernels
    assert {decay for name, decay in decays.items() if name not in kernels} == {0.0}


def test_a_step_of_a_decayed_kernel_adds_the_decay_times_the_weight_to_its_gradient() -> None:
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, 3.0)
    nn.init.constant_(layer.bias, 5.0)
    optimizer = torch.optim.SGD(decayed_kernels(layer, 2e-4), lr=1.0)
    layer(torch.zeros(1, 1)).sum().backward()  # gradients: weight 0, bias 1
    optimizer.step()
    assert float(layer.weight.detach()) == pytest.approx(3.0 - 2e-4 * 3.0, abs=1e-6)
    assert float(layer.bias.detach()) == 4.0


def test_without_a_weight_decay_nothing_decays(make: Make) -> None:
    workload = prepared(make)
    optimizer = workload.optimizer(workload.model(), Hyperparameters({"learning_rate": 0.1}))
    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == [(0.1, 0.0)] * 2


def test_the_options_of_the_data_reach_its_reader(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load(*arguments: Any) -> Splits:
        asked.extend(arguments)
        return Splits(bands(20), bands(10))

    monkeypatch.setattr(cifar10, "load", load)
    make(train_examples=20, validation_examples=10, test_examples=5, pixels=16).prepare(CPU, "somewhere")
    assert asked == ["somewhere", 20, 10, 5, 16]


def test_data_that_is_not_there_is_one_message(make: Make) -> None:
    with pytest.raises(UsageError, match=r"^data\.root: .* downloads it$"):
        make().prepare(CPU, None)


@needs_gpu
def test_a_gpu_trains_as_a_cpu_does_but_for_rounding(make: Make) -> None:
    losses = [
        train(workload, workload.begin(HYPERPARAMETERS, 0, None))
        for workload in (
            prepared(make, device=torch.device(name), precision="float32") for name in ("cpu", "cuda")
        )
    ]
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-3)
    assert losses[0] == pytest.approx(losses[1], rel=0.1)


@needs_gpu
def test_on_a_gpu_bfloat16_overfits_64_images(make: Make) -> None:
    known = bands(64)
    workload = prepared(make, Splits(known, known), device=torch.device("cuda"), precision="bfloat16")
    training = workload.begin(HYPERPARAMETERS, 0, None)
    train(workload, training, 40)
    assert workload.evaluate(training, "validation")["validation_error"] < 0.05


@pytest.mark.parametrize("name", ["resnet20", "capsnet", "small/resnet20", "small/resnet8", "small/capsnet"])
def test_a_config_has_options_that_its_network_takes_and_loci_that_it_reads(name: str) -> None:
    config = load(REPOSITORY / "configs" / f"{name}.yaml")
    workload = build(config.workload.model_dump())
    assert isinstance(workload, ImageClassifier)
    splits = Splits(bands(64, workload.pixels), bands(40, workload.pixels, seed=1))
    workload.data = lambda root: splits  # type: ignore[method-assign]
    workload.prepare(CPU, None)
    metrics, read = workload.rehearse({name: locus.initial for name, locus in config.search.loci.items()})  # type: ignore[union-attr]
    assert config.objective.metric in metrics
    assert read >= set(config.search.loci)
    assert workload.pixels == (16 if "small" in name else 32)
