"""The base class of users' models.

    class Digits(Workload):
        def __init__(self, batch_size: int = 50):
            self.batch_size = batch_size

        def data(self, root):
            return Splits(train=(images, labels), validation=(...), test=(...))

        def model(self):
            return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

        def optimizer(self, model, hp):
            return torch.optim.SGD(model.parameters(), lr=hp["learning_rate"])

        def loss(self, model, batch, hp):
            images, labels = batch
            return F.cross_entropy(model(images), labels)

        def metrics(self, model, batch):
            images, labels = batch
            return {"loss": F.cross_entropy(model(images), labels)}

The metrics reach the config's `objective.metric` as `validation_loss`. Arguments of `__init__` are the
config's `workload.options`. The methods after `metrics` have defaults, which can be overridden.

Whenever a method is called, the global generators of Python, NumPy and torch are seeded: from the run's seed,
and in training also from the member's. Attributes of `self` are shared by all members that the worker
trains; state of a single member belongs in its model or is set on its `Training` (see `setup`).
"""

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from evodevo.errors import UsageError
from workers import batches, options, state, steps
from workers.averaging import Averaged
from workers.hyperparameters import Hyperparameters
from workers.rehearsal import rehearse
from workers.seeding import Randomness, seed_all
from workers.static import epoch
from workers.training import Leg, Training, begin_training_mode

__all__ = ["Batch", "Leg", "Splits", "Training", "Workload"]

Batch = Any
"""A batch in the structure of its split: a tuple for a tuple of tensors, or a `collate_fn`'s result."""


@dataclass(frozen=True)
class Splits:
    """The data; a split may be tensors, a `Dataset`, `DataLoader` or iterable (see `workers.batches`).

    Selection uses only `validation`; `test` is optional and used only for the report.
    """

    train: Any
    validation: Any
    test: Any = None


class Workload(ABC):
    """A model with its data and training; subclasses implement the abstract methods."""

    batch_size: int = 64
    """Batch size for splits that do not come in batches; a DataLoader has its own."""
    clip_norm: float | None = None
    """Maximum norm to which the gradient is clipped."""
    accumulate: int = 1
    """Number of batches whose gradients are averaged for one optimizer step."""
    autocast: torch.dtype | None = None
    """`torch.bfloat16` or `torch.float16` for the forward passes; with float16 the loss is scaled."""
    scheduler_per: Literal["epoch", "step"] = "epoch"
    """Whether the scheduler steps after each epoch or after each optimizer step."""
    compile: bool = False
    """Whether captured steps are compiled by `torch.compile`."""
    capture: Literal["auto", "never"] = "auto"
    """Whether epochs on a GPU replay a CUDA graph if possible (see `workers.static`)."""
    average_half_life: float | None = None
    """Half-life in epochs of the moving average of parameters and buffers that is evaluated instead of them;
    without a length of the training data the average covers about the last tenth of all steps."""

    suffix: ClassVar[str] = ".safetensors"
    continues: ClassVar[bool] = True

    device: torch.device
    splits: Splits

    @abstractmethod
    def data(self, root: str | None) -> Splits:
        """Load the data, from the config's `data.root` if given; called once per worker process."""

    @abstractmethod
    def model(self) -> nn.Module:
        """Return a new model with freshly drawn parameters (torch's generators are seeded)."""

    def model_of(self, hp: Hyperparameters) -> nn.Module:
        """Return a member's model; override it if the topology depends on hyperparameters."""
        return self.model()

    def batch_size_of(self, hp: Hyperparameters) -> int:
        """Return a member's batch size; override it if that is a hyperparameter."""
        return self.batch_size

    @abstractmethod
    def optimizer(self, model: nn.Module, hp: Hyperparameters) -> Any:
        """Return an optimizer with the child's hyperparameters; its α's state is loaded into it later.

        Return several (as in a GAN) as a dict by name, and override `step`.
        """

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        """Return the scalar to minimise for one training batch, as returned by `augment`."""

    def draws(self, batch: Batch, hp: Hyperparameters) -> Any:
        """Draw the random numbers of a batch from global generators: tensors on the CPU in tuples or dicts.

        Examples are along the first dimension of each. Only the shapes and types of the batch may be used, as
        the numbers of a whole epoch are drawn ahead if steps are captured. The default, None, draws nothing.
        """
        return None

    def augment(self, batch: Batch, drawn: Any, hp: Hyperparameters) -> Batch:
        """Return the batch transformed by the numbers drawn for it, on its device, without drawing any."""
        return batch

    @abstractmethod
    def metrics(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor | float]:
        """Return means over one batch; they are averaged over the split, weighted by batch length."""

    def combine(self, outputs: Sequence[Any]) -> Any:
        """Merge the outputs of an ensemble's networks into one for `metrics`; see `search.ploidy`."""
        raise NotImplementedError

    def scheduler(self, training: Training) -> Any:
        """Return a learning-rate scheduler of `training.optimizer`, or several by name; None by default.

        It is stepped automatically (`scheduler_per`). `training.epochs`, `training.steps_per_epoch` and the
        hyperparameters determine its length. Children inherit its effect as a factor of the learning rate.
        """
        return None

    def setup(self, training: Training) -> None:  # noqa: B027
        """Set further parts of a member's state on `training`, before the parent's state is restored.

        Anything with `state_dict` and `load_state_dict` is kept: `training.critic = Critic()`.
        """

    def prepare(self, device: torch.device, data_root: str | None) -> None:
        """Load the data, with tensors on the device; raise `UsageError` for invalid data or options."""
        options.check(self)
        self.device = device
        loaded = self.data(data_root)
        if not isinstance(loaded, Splits):
            raise UsageError(
                "data() should return Splits(train=..., validation=..., test=...), "
                f"not a {type(loaded).__qualname__}"
            )
        for name in ("train", "validation", "test"):
            split = getattr(loaded, name)
            if split is not None or name != "test":
                batches.checked(name, split)
                batches.have_processes_forked(split)
        on_device = (batches.kept(split, device) for split in (loaded.train, loaded.validation, loaded.test))
        self.splits = Splits(*on_device)

    def begin(
        self,
        hyperparameters: Mapping[str, Any],
        training_seed: int,
        parent: bytes | None,
        leg: Leg = Leg(),  # noqa: B008
    ) -> Training:
        """Return a member, fresh or with the state of `parent`."""
        seed_all(training_seed if leg.initial_seed is None else leg.initial_seed, self.device)
        hp = Hyperparameters(hyperparameters)
        model = self.model_of(hp).to(self.device)
        self._materialise(model, hp)
        if leg.initial_seed is not None:
            seed_all(training_seed, self.device)
        optimizer = self.optimizer(model, hp)
        generator = torch.Generator().manual_seed(training_seed)
        training = Training(model, optimizer, hp, generator, leg, leg.before)
        count = batches.steps(self.splits.train, self.batch_size_of(hp))
        training.steps_per_epoch = count and -(-count // self.accumulate)
        training.scheduler = self.scheduler(training)
        if self.autocast == torch.float16:
            training.scaler = torch.amp.GradScaler(self.device.type)
        half_life = self.average_half_life if leg.average_half_life is None else leg.average_half_life
        self.setup(training)
        if half_life is not None and training.averaged is None:
            training.averaged = Averaged(training.model, half_life * (training.steps_per_epoch or math.inf))
        options.check_schedule(self, training)
        begin_training_mode(training)  # the parent's state was saved in it; some optimizers have two states
        training.given = state.given(training)
        if parent is not None:
            state.restore(parent, training)
        return training

    def train(self, training: Training) -> Generator[Tensor, None, None]:
        """Train one epoch, yielding the loss of each batch, detached.

        If the loci have an `anneal`, the learning rate falls linearly within the leg to a fraction 1 - anneal
        of itself: 0 keeps it constant, with 1 it ends near zero. This keeps the noise of a rate that is still
        rightly high out of the fom, so that selection by one leg is less short-sighted.
        With `restart_steps` or `restart_epochs` it has warm restarts (see `evodevo.evolution.restarts`).
        """
        begin_training_mode(training)
        state.add_given(training)
        captured = epoch.begun(self, training) if epoch.wanted(self) else None
        yield from self._train_eagerly(training) if captured is None else captured

    def stackable(self, trainings: Sequence[Training]) -> bool:
        """Return whether `train_together` can train an epoch of all these members at once.

        Their networks need a stacked form (see `workers.stacking`), and the workload a `criterion`. It is not
        done on a CPU, where it would be slower.
        """
        has_criterion = type(self).criterion is not Workload.criterion
        return has_criterion and epoch.wanted(self) and epoch.stackable(self, trainings)

    def train_together(
        self, trainings: Sequence[Training], randomness: Sequence[Randomness]
    ) -> Generator[Tensor, None, None]:
        """Train one epoch of K members at once, yielding their losses, (K,), detached, after each step.

        `randomness` is the state of the global generators for each.
        """
        for training in trainings:
            begin_training_mode(training)
            state.add_given(training)
        yield from epoch.together(self, trainings, randomness)

    def _train_eagerly(self, training: Training) -> Generator[Tensor, None, None]:
        losses: list[Tensor] = []
        gang = training.gang
        batches_of_all = self.train_batches(training) if gang is None else gang.shares(self, training)
        with contextlib.closing(steps.annealed(self, training, batches_of_all)) as found:
            try:
                for batch in found:
                    losses.append(self.step(training, batch))
                    if not training.pending:
                        steps.end(self, training)
                    yield losses[-1]
            except GeneratorExit:
                steps.use_pending(self, training)
                raise
            steps.use_pending(self, training)
        self.end_epoch(training, losses)
        if gang is not None:
            gang.check(training.model)

    def step(self, training: Training, batch: Batch) -> Tensor:
        """Train one batch: its gradient, and a step if due; return the batch's loss, detached."""
        if len(training.optimizers) > 1:
            raise UsageError(
                f"the workload has several optimizers ({', '.join(training.optimizers)}), so it must "
                "override step(training, batch)"
            )
        if steps.wants_closure(type(training.optimizer).step):
            return steps.with_closure(self, training, batch)
        if not training.pending:
            training.optimizer.zero_grad(set_to_none=True)
        loss = self._loss(training, batch)
        share = loss if self.accumulate == 1 else loss / self.accumulate
        told = loss.detach()
        if training.gang is not None:
            share, told = training.gang.weighted(share), training.gang.told(loss)
        (share if training.scaler is None else training.scaler.scale(share)).backward()  # type: ignore[no-untyped-call]
        training.pending += 1
        if training.pending >= self.accumulate:
            steps.update(self, training)
        return told

    def criterion(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of a network's outputs for a batch of (inputs, labels), if `loss` is just that.

        If it is defined, members can be trained together by a stacked network.
        """
        raise NotImplementedError

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the losses of K members, (K,), for a stacked network and a batch of tensors (K, n, ...)."""
        inputs, labels = batch
        with self._in_precision():
            outputs = model(inputs)
        single = outputs.float() if outputs.dtype == torch.bfloat16 else outputs
        return torch.vmap(self.criterion)(single, labels)

    def casts_to(self) -> torch.dtype | None:
        """Return the type to which forward passes in training are cast, or None."""
        return self.autocast

    def augmented(self, batch: Batch, hp: Hyperparameters) -> Batch:
        """Return a batch augmented with numbers that are drawn for it here."""
        drawn = self.draws(batch, hp)
        return self.augment(batch, batches.on_device(drawn, self.device), hp)

    def end_epoch(self, training: Training, losses: Sequence[Tensor]) -> None:
        """Step schedulers that step per epoch; called after each whole epoch with its losses."""
        if self.scheduler_per == "epoch":
            steps.step_schedulers(training, losses)

    def train_batches(self, training: Training) -> Iterator[Batch]:
        """Yield the batches of an epoch in random order; see `workers.batches.training_batches`."""
        split, size = self.splits.train, self.batch_size_of(training.hyperparameters)
        yield from batches.training_batches(split, size, training.generator, training.epoch, self.device)

    @torch.no_grad()
    def evaluate(self, training: Training, split: str) -> dict[str, float]:
        """Return the metrics over a whole split as `<split>_<metric>`; empty if there is no such split."""
        totals: dict[str, Any] = {}
        last: Mapping[str, Any] = {}
        seen = count = 0
        with training.evaluating() as model, self._casting():
            for batch in self.evaluation_batches(split):
                size = self.batch_length(batch)
                seen, count = seen + 1, count + size
                last = self.metrics(model, batch)
                for name, value in last.items():
                    double = value.detach().double() if isinstance(value, Tensor) else float(value)
                    totals[name] = totals.get(name, 0.0) + double * size
        if seen == 1:
            return {f"{split}_{name}": float(value) for name, value in last.items()}
        return {f"{split}_{name}": float(total) / count for name, total in totals.items()}

    def evaluation_batches(self, split: str) -> Iterator[Batch]:
        """Yield a split in its own order, in batches that may be larger than in training."""
        yield from batches.evaluation_batches(getattr(self.splits, split), self.batch_size, self.device)

    def batch_length(self, batch: Batch) -> int:
        """Return a batch's number of examples; override it if that is not its first tensor's length."""
        return batches.batch_length(batch)

    def share(self, batch: Batch, rank: int, size: int) -> Batch:
        """Return the share of worker `rank` (from 0) in a batch on which `size` workers train together."""
        return batches.share(batch, rank, size)

    def checkpoint(self, training: Training) -> bytes:
        return state.encode(training)

    def exhibits(self, training: Training) -> Mapping[str, bytes]:
        """Return `.png` and `.txt` files about the run's best member for its report; may use any split."""
        return {}

    def rehearse(
        self,
        hyperparameters: Mapping[str, Any],
        other: Mapping[str, Any] | None = None,
        leg: Leg = Leg(total=2),  # noqa: B008
        heirs: Sequence[Mapping[str, Any]] = (),
    ) -> tuple[list[str], set[str]]:
        """Try a round with two members; see `workers.rehearsal`."""
        return rehearse(self, hyperparameters, other or hyperparameters, leg, heirs)

    def facts(self) -> list[str]:
        """Return lines for `evodevo check` that describe this workload in numbers."""
        sizes = []
        for name in ("train", "validation", "test"):
            split = getattr(self.splits, name)
            if split is not None:
                count = batches.length(split)
                sizes.append(f"{name} {count:,}" if count is not None else f"{name} of unknown length")
        count = sum(p.numel() for p in self.model().parameters() if not nn.parameter.is_lazy(p))
        found = [f"{count:,} parameters on {self.device}", f"examples: {', '.join(sizes)}"]
        return found + epoch.report(self)

    def _materialise(self, model: nn.Module, hp: Hyperparameters) -> None:
        """Pass a batch through lazy layers to initialise their parameters."""
        if any(nn.parameter.is_lazy(p) for p in [*model.parameters(), *model.buffers()]):
            with torch.no_grad(), self._casting():
                batch = self.augmented(next(iter(self.evaluation_batches("train"))), hp)
                self.loss(model.eval(), batch, hp)

    def _loss(self, training: Training, batch: Batch) -> Tensor:
        hp = training.hyperparameters
        batch = self.augmented(batch, hp)
        with self._casting():
            loss = self.loss(training.model, batch, hp)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            kind = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)[:100]
            raise TypeError(f"loss() should return a scalar tensor, not {kind}")
        return loss

    def _in_precision(self) -> torch.autocast:
        """Return the context for forward passes in training, according to `casts_to`."""
        dtype = self.casts_to()
        return torch.autocast(self.device.type, dtype or torch.bfloat16, enabled=dtype is not None)

    def _casting(self) -> torch.autocast:
        enabled = self.autocast is not None
        return torch.autocast(self.device.type, self.autocast or torch.bfloat16, enabled=enabled)
