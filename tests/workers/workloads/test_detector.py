"""The detector as a workload: what a training is made of, on small painted images."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from evodevo.config_file import load
from evodevo.errors import UsageError
from tests.configs import complaint
from tests.golden import assert_golden, raises_golden
from workers.build import build
from workers.data.detection import DetectionData, padded
from workers.detection import recipe
from workers.detection.anchors import fitted
from workers.detection.network import Detector
from workers.hyperparameters import Hyperparameters
from workers.workload import Splits
from workers.workloads.detector import YOLO

CPU = torch.device("cpu")
CONFIGS = Path(__file__).resolve().parents[3] / "configs"
OF_DETECTORS = sorted([*CONFIGS.glob("**/detector*.yaml"), *CONFIGS.glob("**/yolov[45]*.yaml")])
AUGMENTATIONS = {**recipe.GEOMETRIC, **recipe.MIXING, **recipe.PHOTOMETRIC, **recipe.OCCLUSION}


def squares(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of 64 x 64 with up to three squares, bright ones of class 0 and dark ones of class 1."""
    rng = np.random.default_rng(seed)
    images = np.full((count, 3, 64, 64), 114, np.uint8)
    labels = []
    for number in range(count):
        own = []
        for _ in range(rng.integers(0, 4)):
            side, kind = int(rng.integers(10, 24)), int(rng.integers(2))
            left, top = rng.integers(0, 64 - side, 2)
            images[number, :, top : top + side, left : left + side] = 30 if kind else 220
            own.append([left, top, left + side, top + side, kind])
        labels.append(torch.tensor(own, dtype=torch.float32).reshape(-1, 5))
    return torch.from_numpy(images), padded(labels)


def prepared(splits: Splits | None = None, **options: Any) -> YOLO:
    workload = YOLO(**{"batch_size": 8, "pixels": 64, "width": 0.125, "activation": "silu", **options})
    found = splits or Splits(squares(24, 0), squares(16, 1), squares(8, 2))

    def data(root: str | None) -> Splits:
        workload.found = DetectionData(found, ["bright", "dark"], 0)
        return found

    workload.data = data  # type: ignore[method-assign]
    workload.prepare(CPU, None)
    return workload


def test_a_rehearsal_reports_the_metrics_and_reads_every_name_of_the_recipe() -> None:
    every = {**recipe.DEFAULTS, "sam": True, "dropblock": 0.1, "cross_iterations": 2}
    metrics, read = prepared(epochs=3).rehearse(every)
    names = ["precision", "recall", "map50", "map", "box_loss", "obj_loss", "cls_loss", "loss"]
    assert metrics == [f"validation_{name}" for name in names]
    assert set(every) <= read


def test_a_training_of_one_epoch_reads_no_schedule_but_anneals() -> None:
    _, read = prepared().rehearse(recipe.DEFAULTS)
    assert not {"lrf", "warmup_epochs"} & read
    assert "anneal" in read


def test_it_learns_to_find_squares() -> None:
    workload = prepared(epochs=30, optimizer="adamw")
    training = workload.begin({"lr0": 0.004, "warmup_bias_lr": 0.0, "fliplr": 0.5}, 0, None)
    before = workload.evaluate(training, "validation")
    losses = torch.stack(list(workload.train(training)))
    after = workload.evaluate(training, "validation")
    assert len(losses) == 30 * 3
    assert losses[-3:].mean() < 0.75 * losses[:3].mean()
    assert after["validation_map50"] > max(0.3, before["validation_map50"] + 0.2)
    assert after["validation_loss"] < before["validation_loss"]
    assert workload.evaluate(training, "test").keys() == {
        name.replace("validation", "test") for name in after
    }


def test_equal_seeds_train_to_equal_bytes_and_others_do_not() -> None:
    workload = prepared()
    every = dict.fromkeys(AUGMENTATIONS, 0.3) | {"perspective": 1e-4, "dropblock": 0.1, "adversarial": 0.01}

    def trained(seed: int, parent: bytes | None = None) -> bytes:
        training = workload.begin(every, seed, parent)
        list(workload.train(training))
        return workload.checkpoint(training)

    first = trained(1)
    assert first == trained(1)
    assert first != trained(2)
    assert trained(3, first) == trained(3, first)


def test_a_child_goes_on_from_its_parents_parameters_and_momentum() -> None:
    workload = prepared()
    parent = workload.begin({}, 0, None)
    list(workload.train(parent))
    data = workload.checkpoint(parent)
    child = workload.begin({"lr0": 0.002}, 1, data)
    assert workload.checkpoint(child) == data
    assert {group["lr"] for group in child.optimizer.param_groups} == {0.002}


def test_with_one_epoch_the_learning_rate_is_what_the_hyperparameter_says() -> None:
    workload = prepared()
    training = workload.begin({"lr0": 0.002, "momentum": 0.8}, 0, None)
    for _ in workload.train(training):
        assert [group["lr"] for group in training.optimizer.param_groups] == [0.002] * 3
        assert [group["momentum"] for group in training.optimizer.param_groups] == [0.8] * 3


def test_with_more_epochs_it_warms_up_and_falls() -> None:
    workload = prepared(epochs=4)
    hp = {"lr0": 0.01, "lrf": 0.1, "warmup_epochs": 1.0, "warmup_bias_lr": 0.05}
    training = workload.begin(hp, 0, None)
    rates = [
        (training.optimizer.param_groups[0]["lr"], training.optimizer.param_groups[2]["lr"])
        for _ in workload.train(training)
    ]
    assert rates[0] == (0, 0.05)
    assert max(rate for rate, _ in rates) == pytest.approx(0.01 * (1 - 0.9 * 0.1464), rel=0.01)  # at epoch 1
    assert rates[-1][0] < 0.002
    assert rates[-1][0] == pytest.approx(rates[-1][1])


def test_biases_are_the_last_group_and_only_kernels_decay() -> None:
    workload = prepared()
    model = workload.model()
    groups = workload.optimizer(model, Hyperparameters({"weight_decay": 0.1})).param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0, 0.0]
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    assert all(parameter.ndim == 1 for parameter in groups[2]["params"])


def test_batches_have_about_as_many_pixels_whatever_their_shape() -> None:
    workload = prepared(Splits(squares(200, 0), squares(4, 1)), training_sizes=[32, 64, 96])
    training = workload.begin({}, 0, None)
    shapes = [tuple(images.shape) for images, _ in workload.train_batches(training)]
    assert {shape[2:] for shape in shapes} == {(32, 32), (64, 64), (96, 96)}
    for count, _, height, width in shapes:
        assert count * height * width == pytest.approx(8 * 64 * 64, rel=0.15)


def test_an_epoch_shows_every_image_once() -> None:
    workload = prepared()
    training = workload.begin({}, 0, None)
    shown = torch.cat([images for images, _ in workload.train_batches(training)])
    assert torch.equal(
        (shown * 255).round().flatten(1).sum(1).sort().values,
        workload.splits.train[0].float().flatten(1).sum(1).sort().values,
    )


def test_a_split_smaller_than_a_batch_is_one_batch() -> None:
    workload = prepared(Splits(squares(3, 0), squares(2, 1)))
    assert len(list(workload.train(workload.begin({}, 0, None)))) == 1


def test_self_adversarial_training_raises_the_loss_within_its_bound_and_changes_nothing_else() -> None:
    workload = prepared(epochs=10, optimizer="adamw")
    training = workload.begin({"lr0": 0.004, "warmup_epochs": 0}, 0, None)
    list(workload.train(training))
    before = workload.checkpoint(training)
    images, labels = next(iter(workload.train_batches(training)))
    harder = workload.perturbed(training, images, labels, 0.05)
    assert workload.checkpoint(training) == before
    assert training.model.training
    assert float((harder - images).abs().max()) <= 0.05 + 1e-6
    training.model.eval()
    with torch.no_grad():
        losses = [
            float(workload.loss(training.model, (one, labels), Hyperparameters({})))
            for one in (images, harder)
        ]
    assert losses[1] > 1.01 * losses[0]


def test_two_phases_are_a_step_with_clean_images_and_one_with_these_perturbed_then() -> None:
    """By hand: a step, the sign of the gradient at the new weights times 0.007, and another step."""
    workload = prepared(adversarial_phases=2)
    hp = {"adversarial": 0.007, "lr0": 0.01}
    training, by_hand = (workload.begin(hp, 0, None) for _ in range(2))
    images, labels = next(iter(workload.train_batches(training)))
    mean = workload.step(training, (images, labels))

    clean = workload._update(by_hand, images, labels)
    by_hand.model.eval()
    moving = images.clone().requires_grad_()
    workload.loss(by_hand.model, (moving, labels), by_hand.hyperparameters).backward()
    assert moving.grad is not None
    harder = (images + 0.007 * moving.grad.sign()).clamp(0, 1)
    by_hand.model.train()
    assert float((harder - images).abs().max()) == pytest.approx(0.007, rel=1e-3)
    loss = workload._update(by_hand, harder, labels)
    assert float(mean) == pytest.approx(float(clean + loss) / 2, rel=1e-5)
    for one, other in zip(training.model.parameters(), by_hand.model.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_in_one_phase_and_without_a_bound_there_is_one_step() -> None:
    for options, hp in [({}, {"adversarial": 0.007}), ({"adversarial_phases": 2}, {})]:
        workload = prepared(**options)
        training = workload.begin(hp, 0, None)
        list(workload.train(training))
        norm = next(m for m in training.model.modules() if isinstance(m, torch.nn.BatchNorm2d))
        assert int(norm.num_batches_tracked or 0) == 3


def test_mini_batches_add_their_gradients_up_for_one_step() -> None:
    gradients = []
    for options in ({}, {"mini_batches": 4}):
        workload = prepared(optimizer="sgd", **options)
        training = workload.begin({"box": 0.0, "cls": 0.0, "momentum": 0.0, "weight_decay": 0.0}, 0, None)
        training.model.eval()  # so that no statistics differ
        before = [parameter.detach().clone() for parameter in training.model.parameters()]
        workload.step(training, next(iter(workload.train_batches(training))))
        gradients.append([new - old for new, old in zip(training.model.parameters(), before, strict=True)])
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_a_member_with_the_whole_recipe_trains_and_evaluates_and_goes_on_from_its_checkpoint() -> None:
    workload = prepared(
        mini_batches=2, cross_mini_batches=True, weighted_residual=True, residual_inputs=3, depth=0.67,
        anchor_rule="iou", mixup_ratio="uniform", adversarial_phases=2, training_sizes=[32, 64],
    )  # fmt: skip
    hp = {"adversarial": 0.007, "mixup": 0.5, "mosaic": 0.5, "cutmix": 0.3, "aspect": 0.3, "iou_t": 0.213}
    metrics, read = workload.rehearse({**hp, "batch_size": 4, "nms_t": 0.6})
    assert {"batch_size", "nms_t", "aspect"} <= read
    assert "validation_map" in metrics


def test_random_shapes_have_batches_that_scale_with_their_size() -> None:
    """32 of 416 x 416 are 54.1 of 320, 21.1 of 512 and 15.0 of 608."""
    workload = prepared(batch_size=32)
    workload.canvas = (416, 416)
    sizes = [(side, side) for side in (320, 416, 512, 608)]
    assert [workload.images_of(size, Hyperparameters({})) for size in sizes] == [54, 32, 21, 15]
    assert [workload.images_of(size, Hyperparameters({"batch_size": 4})) for size in sizes] == [7, 4, 3, 2]


def test_the_batch_size_may_be_a_hyperparameter() -> None:
    workload = prepared()
    training = workload.begin({"batch_size": 5}, 0, None)
    assert [len(images) for images, _ in workload.train_batches(training)] == [5, 5, 5, 5]
    with raises_golden("detector/batch-size", UsageError):
        workload.begin({"batch_size": 0}, 0, None)


def test_the_threshold_of_suppression_may_be_a_hyperparameter() -> None:
    workload = prepared()
    images = workload.splits.validation[0]
    model = workload.begin({}, 0, None).model.eval()
    counts = []
    for threshold in (0.0, 0.45, 1.0):
        with torch.no_grad():
            found, _ = workload._detect(model, images, Hyperparameters({"nms_t": threshold}))
        counts.append(int((found.scores > 0).sum()))
    assert counts[0] < counts[1] < counts[2]
    with raises_golden("detector/nms-threshold", UsageError):
        workload._detect(model, images, Hyperparameters({"nms_t": 2}))


def test_with_one_epoch_the_rate_restarts_every_so_many_steps() -> None:
    workload = prepared()
    hp = {"lr0": 0.1, "restart_steps": 2, "restart_decay": 0.7, "restart_min": 0.001}
    training = workload.begin(hp, 0, None)
    rates = [training.optimizer.param_groups[0]["lr"] for _ in workload.train(training)]
    assert rates == pytest.approx([0.1, 0.0505, 0.07])


def test_with_more_epochs_the_rate_restarts_every_so_many_steps_of_them_all() -> None:
    workload = prepared(epochs=2)
    hp = {"lr0": 0.1, "restart_steps": 2, "restart_decay": 0.7, "restart_min": 0.001, "warmup_epochs": 0}
    training = workload.begin(hp, 0, None)
    rates = [training.optimizer.param_groups[0]["lr"] for _ in workload.train(training)]
    assert rates == pytest.approx([0.1, 0.0505, 0.07, 0.0355, 0.049, 0.025])


def test_a_hyperparameter_of_an_options_name_goes_before_it() -> None:
    workload = prepared(sam=False, dropblock=0.2)
    model = workload.begin(
        {"sam": True, "width": 0.25, "dropblock": 0.1, "activation": "relu"}, 0, None
    ).model
    assert isinstance(model, Detector)
    assert (model.plan.sam, model.plan.width, model.plan.dropblock) == (True, 0.25, 0.1)
    assert isinstance(workload.model(), Detector)
    assert not workload.model().plan.sam  # type: ignore[union-attr]


def test_anchors_may_be_given_and_are_part_of_the_checkpoint() -> None:
    given = [(30.0, 30.0), (10.0, 10.0), (20.0, 20.0)]
    model = prepared(anchors=given).model()
    assert model.state_dict()["anchors"].tolist() == [[[10, 10]], [[20, 20]], [[30, 30]]]
    assert prepared(anchors_per_scale=2).model().state_dict()["anchors"].shape == (3, 2, 2)


@pytest.mark.parametrize("options", [{"anchors_per_scale": 3}, {"anchors": [(9.0, 9.0)] * 3}])
def test_a_number_of_anchors_as_a_hyperparameter_goes_before_the_options(options: dict[str, Any]) -> None:
    results = []
    for workload, hp in [(prepared(**options), {"anchors": 2.4}), (prepared(anchors_per_scale=2), {})]:
        training = workload.begin(hp, 0, None)
        list(workload.train(training))
        metrics = workload.evaluate(training, "validation")
        results.append((metrics, workload.checkpoint(training)))
        assert training.model.state_dict()["anchors"].shape == (3, 2, 2)
    assert results[0] == results[1]


def test_less_than_half_an_anchor_leaves_the_options_as_they_are() -> None:
    given = [(10.0, 10.0), (20.0, 20.0), (30.0, 30.0)]
    model = prepared(anchors=given).begin({"anchors": 0.4}, 0, None).model
    assert model.state_dict()["anchors"].flatten(0, 1).tolist() == [list(pair) for pair in given]


def test_anchors_are_fitted_once_for_each_number_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    workload, fits = prepared(), []

    def fit(sizes: torch.Tensor, count: int) -> torch.Tensor:
        fits.append(count)
        return fitted(sizes, count)

    monkeypatch.setattr("workers.workloads.detector.fitted", fit)
    for anchors in (4.4, 3.6, 5.0, 4.0):
        workload.begin({"anchors": anchors}, 0, None)
    assert fits == [12, 15]


def test_images_without_any_object_can_be_trained_and_evaluated() -> None:
    images = squares(8, 0)[0]
    nothing = padded([torch.zeros(0, 5)] * 8)
    workload = prepared(Splits((images, nothing), (images, nothing)), anchors=[(9.0, 9.0)] * 3)
    training = workload.begin(dict.fromkeys(recipe.MIXING, 1.0), 0, None)
    assert all(torch.isfinite(loss) for loss in workload.train(training))
    assert workload.evaluate(training, "validation")["validation_map"] == 0.0
    assert set(workload.exhibits(training)) == {"boxes.png", "precision-recall.png"}


def test_the_exhibits_are_two_pictures() -> None:
    workload = prepared()
    training = workload.begin({}, 0, None)
    for data in workload.exhibits(training).values():
        with Image.open(io.BytesIO(data)) as picture:
            assert picture.format == "PNG"
            assert picture.width > 500


def test_the_facts_name_classes_and_anchors() -> None:
    text = "\n".join(prepared().facts())
    for part in ("parameters on cpu", "train 24, validation 16, test 8", "bright, dark", "mean IoU of 0."):
        assert part in text


@pytest.mark.parametrize(
    ("name", "options", "key"),
    [
        ("epochs", {"epochs": 0}, "workload.options.epochs"),
        ("training-sizes", {"training_sizes": [64, 16]}, "workload.options.training_sizes"),
        ("anchors", {"anchors": [(1.0, 1.0)]}, "workload.options.anchors"),
        ("residual-inputs", {"residual_inputs": 1}, "workload.options.residual_inputs"),
        ("mini-batches", {"mini_batches": 0}, "workload.options.mini_batches"),
        ("cross-iterations", {"cross_iterations": 0}, "workload.options.cross_iterations"),
    ],
)
def test_bad_options_are_named(name: str, options: dict[str, Any], key: str) -> None:
    said = complaint(lambda: YOLO(**options))
    assert said.startswith(f"{key}: ")
    assert_golden(f"detector/options/{name}", said)


def test_options_are_given_as_in_a_config() -> None:
    options = {"anchors": [[10, 10], [20, 20.5], [30, 30]], "training_sizes": [64, 96], "test": None}
    made = build({"use": "workers.workloads.detector:YOLO", "command": None, "options": options})
    assert isinstance(made, YOLO)
    assert made.given_anchors == [(10, 10), (20, 20.5), (30, 30)]
    wrong = {"use": "workers.workloads.detector:YOLO", "command": None, "options": {"activation": "mash"}}
    assert "mish" in complaint(lambda: build(wrong))


def test_a_bad_hyperparameter_is_named() -> None:
    with raises_golden("detector/dropblock", UsageError):
        prepared().begin({"dropblock": 1.0}, 0, None)
    with raises_golden("detector/mosaic", UsageError):
        prepared().rehearse({"mosaic": 1.5})
    with raises_golden("detector/anchors", UsageError):
        prepared().begin({"anchors": "three"}, 0, None)


@pytest.mark.parametrize(
    "config",
    OF_DETECTORS,
    ids=lambda path: str(path.relative_to(CONFIGS)),
)
def test_the_loci_of_the_configs_are_known_hyperparameters(config: Path) -> None:
    known = {*recipe.DEFAULTS, "anneal", "sam", "weighted_residual", "dropblock", "cross_iterations"}
    known |= {"batch_size", "nms_t"}
    assert set(load(config).search.loci) <= known
