"""A single-stage object detector with YOLO's recipe; its parts are in workers/detection."""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import fields
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from evodevo.errors import UsageError
from workers import steps
from workers.data import detection
from workers.data.detection import Layout
from workers.detection import pictures, recipe
from workers.detection.anchors import fitted, mean_best_iou
from workers.detection.assign import Rule
from workers.detection.augmenter import augmented
from workers.detection.blocks import Activation
from workers.detection.boxes import to_centres
from workers.detection.evaluation import Detections, Judged, detections, judge
from workers.detection.geometry import shape_for
from workers.detection.mixing import Ratio
from workers.detection.network import STRIDES, Detector, Plan
from workers.detection.norm import end_batch
from workers.detection.objective import Losses, losses
from workers.detection.outlines import numbered
from workers.detection.schedule import Settings, Shape, settings
from workers.hyperparameters import Hyperparameters
from workers.precision import Precision, casts_to
from workers.workload import Batch, Splits, Training, Workload

EVALUATION_BATCH = 32
EXHIBITED = 9
MAX_GRADIENT_NORM = 10.0
AUGMENTATION = {**recipe.GEOMETRIC, **recipe.MIXING, **recipe.PHOTOMETRIC, **recipe.OCCLUSION}
RATES = {**recipe.OPTIMISER, **recipe.SCHEDULE}
EVOLVABLE_PLAN = [field.name for field in fields(Plan) if field.name != "classes"]


class YOLO(Workload):
    """A detector with YOLO's recipe.

    Evolvable: every name of `workers.detection.recipe`, with the defaults there. Also batch_size, nms_t and
    the options from `width` to `cross_mini_batches`: a hyperparameter of that name overrides the option.
    Those that change the parameters (all but batch_size, nms_t, activation, the dropblock and the cross ones)
    are for searches that train each member from scratch; so is `anchors`.

    dataset, layout, train, validation, test: the data and their splits; `test` may be null. See
    `workers.data.detection.load`, also for pixels. Layouts: `voc`, `coco`, and `yolo` (data.yaml, labels/),
    whose polygons copy_paste cuts out.
    training_sizes: longer sides, in pixels, from which each training batch draws one; the number of images is
    chosen so that a batch has about as many pixels as `batch_size` images of size `pixels`.
    epochs: per call of train(). With 1, as in PBT, the learning rate is lr0, annealed, or with restarts, as
    in any workload. With more, a call is a whole training from lr0 to lrf by `schedule`, with warm-up.
    anchors: width and height of each, in pixels of the training images; by default 3 * anchors_per_scale
    anchors are fitted to the training split. A hyperparameter `anchors` of 1 or more, the number of anchors
    per scale, overrides both. nms_t: the DIoU above which non-maximum suppression drops detections.
    anchor_rule: which anchors an object is assigned to; see `workers.detection.assign`. mixup_ratio: see
    `workers.detection.mixing.Ratio`.
    adversarial_phases: with 1 each batch is perturbed by self-adversarial training; with 2 there is a step
    with the unperturbed batch, and then one with the batch perturbed for the updated weights.
    mini_batches: number of parts of each batch, whose gradients are added up for one step.
    residual_inputs, cross_mini_batches: see `workers.detection.network.Plan`.
    precision: of the network in training; None is bfloat16 on a GPU that supports it and float32 otherwise.

    The loss is that of YOLOv5 and, as there, its gradient is that of the sum over a batch, for which the
    usual learning rates (0.01 with SGD) are meant. Metrics: precision, recall, map50 and map (see
    `evaluation.Judged`), and the terms of the loss with the member's gains, box_loss, obj_loss and cls_loss,
    and their sum, loss; so losses of members whose gains differ are not comparable.
    """

    def __init__(
        self,
        batch_size: int = 16,
        dataset: str = "bccd/BCCD",
        layout: Layout = "voc",
        train: str = "train",
        validation: str = "val",
        test: str | None = "test",
        train_examples: int | None = None,
        validation_examples: int | None = None,
        test_examples: int | None = None,
        pixels: int = 224,
        training_sizes: list[int] | None = None,
        epochs: int = 1,
        schedule: Shape = "cosine",
        optimizer: Literal["sgd", "adamw"] = "sgd",
        anchors: list[tuple[float, float]] | None = None,
        anchors_per_scale: int = 3,
        nms_t: float = 0.45,
        width: float = 0.1875,
        depth: float = 0.33,
        activation: Activation = "mish",
        spp: bool = True,
        sam: bool = False,
        weighted_residual: bool = False,
        dropblock: float = 0.0,
        dropblock_size: int = 5,
        cross_iterations: int = 1,
        residual_inputs: int = 2,
        cross_mini_batches: bool = False,
        mini_batches: int = 1,
        anchor_rule: Rule = "ratio",
        mixup_ratio: Ratio = "beta",
        adversarial_phases: Literal[1, 2] = 1,
        precision: Precision | None = None,
    ) -> None:
        least = {
            "epochs": epochs,
            "anchors_per_scale": anchors_per_scale,
            "cross_iterations": cross_iterations,
            "mini_batches": mini_batches,
            "residual_inputs": residual_inputs,
        }
        if training_sizes:
            least["training_sizes"] = min(training_sizes)
        for name, value in least.items():
            limit = {"training_sizes": STRIDES[-1], "residual_inputs": 2}.get(name, 1)
            if value < limit:
                raise UsageError(f"workload.options.{name}: should be {limit} or more, not {value}")
        if anchors is not None and (not anchors or len(anchors) % len(STRIDES)):
            raise UsageError(f"workload.options.anchors: should be 3, 6, 9 ... pairs, not {len(anchors)}")
        self.batch_size, self.epochs, self.shape = batch_size, epochs, schedule
        self.optimizer_name = optimizer
        self.source = (dataset, layout, (train, validation, test))
        self.limits = (train_examples, validation_examples, test_examples)
        self.pixels, self.training_sizes = pixels, training_sizes or [pixels]
        self.given_anchors, self.anchors_per_scale = anchors, anchors_per_scale
        self.nms_t, self.precision = nms_t, precision
        self.plan: dict[str, Any] = {
            "width": width, "depth": depth, "activation": activation, "spp": spp, "sam": sam,
            "weighted_residual": weighted_residual, "dropblock": dropblock,
            "dropblock_size": dropblock_size, "cross_iterations": cross_iterations,
            "residual_inputs": residual_inputs, "cross_mini_batches": cross_mini_batches,
        }  # fmt: skip
        self._mini_batches, self.adversarial_phases = mini_batches, adversarial_phases
        self.anchor_rule, self.mixup_ratio = anchor_rule, mixup_ratio

    def data(self, root: str | None) -> Splits:
        self.found = detection.load(root, *self.source, self.limits, self.pixels)
        return self.found.splits

    def prepare(self, device: torch.device, data_root: str | None) -> None:
        super().prepare(device, data_root)
        images, labels = self.splits.train
        self.canvas = (images.shape[2], images.shape[3])
        self.sizes = to_centres(labels[labels[..., 4] >= 0][:, :4])[:, 2:]
        self.outlined_labels, self.outlines = numbered(labels, self.found.outlines)
        if self.given_anchors is None:
            self.anchors = fitted(self.sizes, len(STRIDES) * self.anchors_per_scale)
        else:
            self.anchors = torch.tensor(self.given_anchors)
            self.anchors = self.anchors[self.anchors.prod(-1).argsort(stable=True)]
        self.fits: dict[int, Tensor] = {}

    def model(self) -> nn.Module:
        return self.model_of(Hyperparameters({}))

    def model_of(self, hp: Hyperparameters) -> nn.Module:
        values = {name: hp.get(name, self.plan[name]) for name in EVOLVABLE_PLAN}
        if not 0 <= values["dropblock"] < 1:
            raise UsageError(f"dropblock: should be 0 or more and below 1, not {values['dropblock']:g}")
        if values["residual_inputs"] < 2:
            raise UsageError(f"residual_inputs: should be 2 or more, not {values['residual_inputs']}")
        if values["cross_mini_batches"] and values["cross_iterations"] > 1:
            raise UsageError("cross_mini_batches and cross_iterations: a norm can be across only one of them")
        plan = Plan(len(self.found.classes), **values)
        model = Detector(plan, self.anchors_of(hp).view(len(STRIDES), -1, 2))
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def batch_size_of(self, hp: Hyperparameters) -> int:
        """Return the number of images of size `pixels` in a batch."""
        size = hp.get("batch_size", self.batch_size)
        if isinstance(size, str) or not size >= 1:
            raise UsageError(f"search.loci.batch_size: should be 1 or more, not {size!r}")
        return int(size)

    def images_of(self, size: tuple[int, int], hp: Hyperparameters) -> int:
        """Return the number of images of a height and width that have as many pixels as a usual batch."""
        share: float = self.canvas[0] * self.canvas[1] / (size[0] * size[1])
        return max(1, round(self.batch_size_of(hp) * share))

    def anchors_of(self, hp: Hyperparameters) -> Tensor:
        """Return anchors float32 (anchors, 2), from small to large, fitted once per number and worker."""
        count = len(STRIDES) * round(recipe.read(hp, recipe.ANCHORS)["anchors"])
        if not count:
            return self.anchors
        if count not in self.fits:
            self.fits[count] = fitted(self.sizes, count)
        return self.fits[count]

    def optimizer(self, model: nn.Module, hp: Hyperparameters) -> torch.optim.Optimizer:
        """Return an optimizer in which only kernels decay; its last group is the biases, warmed up apart."""
        values = recipe.read(hp, recipe.OPTIMISER)
        named = list(model.named_parameters())
        biases = [parameter for name, parameter in named if name.endswith("bias")]
        kernels = [parameter for name, parameter in named if parameter.ndim > 1]
        others = [p for name, p in named if p.ndim <= 1 and not name.endswith("bias")]
        groups = [
            {"params": kernels, "weight_decay": values["weight_decay"]},
            {"params": others, "weight_decay": 0.0},
            {"params": biases, "weight_decay": 0.0},
        ]
        if self.optimizer_name == "adamw":
            return torch.optim.AdamW(groups, lr=values["lr0"], betas=(values["momentum"], 0.999))
        return torch.optim.SGD(
            groups, lr=values["lr0"], momentum=values["momentum"], nesterov=values["momentum"] > 0
        )

    def train(self, training: Training) -> Generator[Tensor, None, None]:
        """Train `epochs` epochs, usually one, yielding the mean loss of each batch."""
        training.model.train()
        values = recipe.read(training.hyperparameters, RATES if self.epochs > 1 else recipe.OPTIMISER)
        anneal = training.hyperparameters.get("anneal", 0.0) if self.epochs == 1 else 0.0
        restarts = steps.restarts_of(training.hyperparameters) if self.epochs == 1 else None
        made = 0
        for epoch in range(self.epochs):
            count = 0
            for batch in self.train_batches(training):
                position = epoch + count / len(self.splits.train[0])
                if self.epochs > 1:
                    now = settings(position, self.epochs, self.shape, values, made)
                elif restarts is not None:
                    rate = steps.restarted(restarts, training, 1, made, values["lr0"])
                    now = Settings(rate, rate, values["momentum"])
                else:
                    rate = values["lr0"] * (1 - anneal * training.progress(position))
                    now = Settings(rate, rate, values["momentum"])
                self._apply(training.optimizer, now)
                yield self.step(training, batch)
                count += len(batch[0])
                made += 1

    def train_batches(self, training: Training) -> Iterator[Batch]:
        """Yield augmented batches of the training split in random order, whole except perhaps the first."""
        values = recipe.read(training.hyperparameters, AUGMENTATION)
        images, labels = self.splits.train
        if values["copy_paste"] > 0 and self.outlines:
            labels = self.outlined_labels
        seed = torch.randint(2**62, (1,), generator=training.generator)
        rng = np.random.default_rng(int(seed))
        order = rng.permutation(len(images))
        start = 0
        while True:
            size = shape_for(int(rng.choice(self.training_sizes)), self.canvas)
            count = self.images_of(size, training.hyperparameters)
            if start and start + count > len(order):
                return
            chosen = order[start : start + count]
            yield augmented(images, labels, chosen, size, rng, values, self.outlines, self.mixup_ratio)
            start += count

    def step(self, training: Training, batch: Batch) -> Tensor:
        """Make one optimizer step, or two if it is adversarial in two phases; return the loss per image."""
        images, labels = batch
        bound = recipe.read(training.hyperparameters, recipe.LOSS)["adversarial"]
        if bound == 0:
            return self._update(training, images, labels)
        if self.adversarial_phases == 1:
            return self._update(training, self.perturbed(training, images, labels, bound), labels)
        clean = self._update(training, images, labels)
        harder = self.perturbed(training, images, labels, bound)
        return (clean + self._update(training, harder, labels)) / 2

    def _update(self, training: Training, images: Tensor, labels: Tensor) -> Tensor:
        """Make one optimizer step with the gradients of all mini-batches; return the loss per image."""
        training.optimizer.zero_grad(set_to_none=True)
        losses = []
        for part in zip(images.chunk(self._mini_batches), labels.chunk(self._mini_batches), strict=True):
            loss = self.loss(training.model, part, training.hyperparameters)
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        end_batch(training.model)
        nn.utils.clip_grad_norm_(training.model.parameters(), MAX_GRADIENT_NORM)
        training.optimizer.step()
        return sum(losses[1:], losses[0]) / len(images)

    def perturbed(self, training: Training, images: Tensor, labels: Tensor, bound: float) -> Tensor:
        """Return the images with each pixel changed by `bound` in the direction that increases the loss.

        This is self-adversarial training (Bochkovskiy et al. 2020) by the fast gradient sign method
        (Goodfellow et al. 2015, arXiv 1412.6572). Norms are in evaluation mode, so their statistics are kept.
        """
        training.model.eval()
        moving = images.clone().requires_grad_()
        loss = self.loss(training.model, (moving, labels), training.hyperparameters)
        (slope,) = torch.autograd.grad(loss, moving)
        training.model.train()
        return (images + bound * slope.sign()).clamp(0, 1)

    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        """Return the sum of losses of images float32 (n, 3, height, width) with labels (n, most, 5 or 6)."""
        images, labels = batch
        casts = casts_to(self.precision, self.device) is not None
        with torch.autocast(self.device.type, torch.bfloat16, enabled=casts):
            outputs = model(images.contiguous(memory_format=torch.channels_last))
        return self._losses(model, outputs, labels, hp).total() * len(images)

    def metrics(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor | float]:
        """Return the metrics of one batch; `evaluate` returns those of a split."""
        return self._figures(model, [batch], Hyperparameters({}))[0]

    @torch.no_grad()
    def evaluate(self, training: Training, split: str) -> dict[str, float]:
        if not getattr(self.splits, split):
            return {}
        batches = list(self.evaluation_batches(split))
        with training.evaluating() as model:
            figures, _ = self._figures(model, batches, training.hyperparameters)
        return {f"{split}_{name}": value for name, value in figures.items()}

    def evaluation_batches(self, split: str) -> Iterator[Batch]:
        tensors = getattr(self.splits, split)
        for start in range(0, len(tensors[0]) if tensors else 0, EVALUATION_BATCH):
            yield tuple(tensor[start : start + EVALUATION_BATCH] for tensor in tensors)

    @torch.no_grad()
    def exhibits(self, training: Training) -> Mapping[str, bytes]:
        """Return validation images from all over the split with their boxes, and precision-recall curves."""
        batches = list(self.evaluation_batches("validation"))
        images, labels = self.splits.validation
        shown = torch.linspace(0, len(images) - 1, min(EXHIBITED, len(images))).long().to(self.device)
        with training.evaluating() as model:
            _, judged = self._figures(model, batches, training.hyperparameters)
            found, _ = self._detect(model, images[shown], training.hyperparameters)
        names = self.found.classes
        return {
            "boxes.png": pictures.boxes(images[shown], labels[shown], found, names, judged.confidence),
            "precision-recall.png": pictures.curves(judged, names),
        }

    def facts(self) -> list[str]:
        fit = mean_best_iou(self.sizes.cpu(), self.anchors)
        shapes = ", ".join(f"{width:.0f} x {height:.0f}" for width, height in self.anchors.tolist())
        lines = [
            f"images of {self.canvas[1]} x {self.canvas[0]} with {len(self.sizes):,} objects to train on; "
            f"classes: {', '.join(self.found.classes)}",
            f"anchors {shapes}: a mean IoU of {fit:.3f} with the objects' sizes",
        ]
        if self.found.left_out:
            lines.append(f"left out: {self.found.left_out} boxes without area")
        return [*super().facts(), *lines]

    def _figures(
        self, model: nn.Module, batches: list[Batch], hp: Hyperparameters
    ) -> tuple[dict[str, float], Judged]:
        found, parts, weights = [], [], []
        for images, labels in batches:
            detected, outputs = self._detect(model, images, hp)
            found.append(detected)
            parts.append(torch.stack(self._losses(model, outputs, labels, hp)))
            weights.append(len(images))
        judged = judge([labels for _, labels in batches], found, len(self.found.classes))
        shares = torch.tensor(weights, device=self.device)[:, None] / sum(weights)
        box, obj, cls = (torch.stack(parts) * shares).sum(0).tolist()
        figures = {"precision": judged.precision, "recall": judged.recall, "map50": judged.map50,
                   "map": judged.map, "box_loss": box, "obj_loss": obj, "cls_loss": cls}  # fmt: skip
        return {**figures, "loss": box + obj + cls}, judged

    def _detect(
        self, model: nn.Module, images: Tensor, hp: Hyperparameters
    ) -> tuple[Detections, list[Tensor]]:
        """Return detections in images, bytes (n, 3, height, width), and the network's outputs, float32."""
        threshold = hp.get("nms_t", self.nms_t)
        if isinstance(threshold, str) or not 0 <= threshold <= 1:
            raise UsageError(f"search.loci.nms_t: should be from 0 to 1, not {threshold!r}")
        inputs = (images.float() / 255).contiguous(memory_format=torch.channels_last)
        outputs: list[Tensor] = model(inputs)
        return detections(outputs, model.get_buffer("anchors"), threshold), outputs

    def _losses(self, model: nn.Module, outputs: list[Tensor], labels: Tensor, hp: Hyperparameters) -> Losses:
        anchors = model.get_buffer("anchors")
        return losses(outputs, labels, anchors, self.pixels, recipe.read(hp, recipe.LOSS), self.anchor_rule)

    def _apply(self, optimizer: torch.optim.Optimizer, now: Settings) -> None:
        for number, group in enumerate(optimizer.param_groups):
            group["lr"] = now.bias_rate if number == len(optimizer.param_groups) - 1 else now.rate
            if "betas" in group:
                group["betas"] = (now.momentum, group["betas"][1])
            else:
                group["momentum"] = now.momentum
