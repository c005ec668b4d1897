"""Apply a schedule in a Hugging Face or Lightning trainer, as a callback.

`Schedule.hugging_face_callback` and `Schedule.lightning_callback` create it, and only then import a library.
"""

import importlib
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from evodevo.errors import UsageError

if TYPE_CHECKING:
    from evodevo.report.schedule import Schedule

Apply = Callable[[dict[str, Any], Any], object]
"""`apply(settings, model)` sets the hyperparameters that no optimizer has, at the start of each epoch."""
IN_OPTIMIZERS: Mapping[str, str] = {"learning_rate": "lr"}
"""Hyperparameter -> its name in optimizers, if different."""


def hugging_face(schedule: "Schedule", apply: Apply | None) -> Any:
    """Return a `transformers.TrainerCallback`. Raises `UsageError` if transformers is not installed."""
    transformers = _imported("transformers")
    driver = _Driver(schedule, apply)

    class ScheduleCallback(transformers.TrainerCallback):  # type: ignore[misc,name-defined]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            driver.begin(state.num_train_epochs, "TrainingArguments(num_train_epochs={epochs})")
            kind = getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type)
            if kind != "constant" and driver.sets_rate:
                warnings.warn(
                    f"the Trainer's {kind} scheduler multiplies the learning rates of the schedule; "
                    'TrainingArguments(lr_scheduler_type="constant") leaves them unchanged',
                    stacklevel=2,
                )

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **of: Any) -> None:
            epoch = int((state.epoch or 0.0) + 1e-6)  # a sum of fractions
            driver.begin_epoch(epoch, of["model"], [of["optimizer"]], [of["lr_scheduler"]])

    return ScheduleCallback()


def lightning(schedule: "Schedule", apply: Apply | None) -> Any:
    """Return a `lightning.pytorch.Callback`, or `pytorch_lightning`'s if that is imported.

    Raises `UsageError` if neither is installed.
    """
    both = ("lightning.pytorch", "pytorch_lightning")
    base = _imported(*sorted(both, key=lambda name: name not in sys.modules)).Callback
    driver = _Driver(schedule, apply)

    class ScheduleCallback(base):  # type: ignore[misc,valid-type]
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            driver.begin(trainer.max_epochs, "Trainer(max_epochs={epochs})")

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
            driver.begin_epoch(trainer.current_epoch, pl_module, trainer.optimizers, schedulers)

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if driver.epoch != trainer.current_epoch:  # training was resumed within an epoch
                self.on_train_epoch_start(trainer, pl_module)

    return ScheduleCallback()


class _Driver:
    """State of one training whose hyperparameters a callback sets each epoch."""

    def __init__(self, schedule: "Schedule", apply: Apply | None) -> None:
        if any(entry.steps is not None for entry in schedule.entries):
            raise UsageError(
                "this schedule counts optimizer steps (search.steps_per_generation), not epochs, so that a "
                "callback cannot apply it; use schedule.at(...) in a loop"
            )
        self._schedule = schedule
        self._apply = apply
        self._decays: list[bool] = []
        self.epoch: int | None = None

    @property
    def sets_rate(self) -> bool:
        return any("learning_rate" in entry.hyperparameters for entry in self._schedule.entries)

    def begin(self, epochs: int | None, given_by: str) -> None:
        """Start a training. Raises `UsageError` if its epochs are unknown or more than the schedule's."""
        self.epoch, self._decays = None, []
        if epochs is None or not 0 < epochs <= self._schedule.epochs:
            wanted = given_by.format(epochs=self._schedule.epochs)
            raise UsageError(
                f"the schedule has {self._schedule.epochs} epochs, but the training has "
                f"{'no fixed number' if epochs is None or epochs < 1 else epochs}: give {wanted}, or fewer"
            )

    def begin_epoch(
        self, epoch: int, model: Any, optimizers: Iterable[Any], schedulers: Iterable[Any]
    ) -> None:
        """Set the hyperparameters that optimizers have, and pass the others to `apply`.

        Raises `UsageError` if there are others and no `apply`.
        """
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        others = {}
        for name, value in self._schedule.at(epoch).items():
            key = IN_OPTIMIZERS.get(name, name)
            having = [group for group in groups if key in group]
            if key == "lr" and having:
                _set_rate(having, value, schedulers)
            elif key == "weight_decay" and having:
                self._set_decay(having, value)
            elif having:
                for group in having:
                    group[key] = value
            else:
                others[name] = value
        if others and self._apply is None:
            raise UsageError(
                f"the schedule has {', '.join(others)}, which no optimizer here has: give the callback "
                "apply=, a function that is called as apply(settings, model) at the start of each epoch"
            )
        if self._apply is not None:
            self._apply(others, model)
        self.epoch = epoch

    def _set_decay(self, groups: list[dict[str, Any]], value: float) -> None:
        """Set the weight decay of the groups that had one initially; biases and norms often have none."""
        self._decays = self._decays or [len(groups) == 1 or bool(group["weight_decay"]) for group in groups]
        if not any(self._decays):
            raise UsageError(
                "the schedule has a weight_decay, but each group of parameters has 0: create the optimizer "
                "with a non-zero weight_decay in the groups that it applies to"
            )
        for group, decays in zip(groups, self._decays, strict=True):
            if decays:
                group["weight_decay"] = value


def _set_rate(groups: list[dict[str, Any]], value: float, schedulers: Iterable[Any]) -> None:
    """Set the base (or maximum) learning rate of schedulers, and scale the current one with it."""
    for group in groups:
        base = group.get("max_lr", group.get("initial_lr"))
        for key in ("lr", "initial_lr", "max_lr", "min_lr"):
            if key in group:
                group[key] = value * (group[key] / base if base else 1.0)
    for scheduler in schedulers:
        scheduler = getattr(scheduler, "scheduler", scheduler)  # accelerate wraps them
        if hasattr(scheduler, "base_lrs"):
            scheduler.base_lrs = [group["initial_lr"] for group in scheduler.optimizer.param_groups]


def _imported(*names: str) -> Any:
    """Return the first of these modules that is installed. Raises `UsageError` if none is."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as why:
            if why.name is None or why.name.partition(".")[0] != name.partition(".")[0]:
                raise
    package = names[-1].replace("_", "-")
    raise UsageError(f"{' or '.join(names)} is not installed: pip install {package}")
