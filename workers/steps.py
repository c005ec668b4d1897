"""The parts of `Workload.train` around a batch: the optimizer's step, learning rates, averages."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from evodevo.errors import UsageError
from evodevo.evolution import restarts as sgdr
from evodevo.evolution.restarts import Restarts
from workers import batches
from workers.training import Training, mean_of

if TYPE_CHECKING:
    from workers.workload import Batch, Workload


def annealed(workload: Workload, training: Training, found: Iterator[Batch]) -> Generator[Batch, None, None]:
    """Yield the batches, with the learning rate set before each if the member has an `anneal` or restarts."""
    size = workload.batch_size_of(training.hyperparameters)
    total = batches.steps(workload.splits.train, size)
    anneal, restarts = training.hyperparameters.get("anneal", 0.0), restarts_of(training.hyperparameters)
    if not (anneal or restarts) or total is None:
        yield from found
        return

    def rate(number: int, peak: float) -> float:
        if restarts is not None:
            return restarted(restarts, training, workload.accumulate, number, peak)
        annealed: float = peak * (1.0 - anneal * training.progress(number / total))
        return annealed

    groups = [group for one in training.optimizers.values() for group in one.param_groups]
    peaks = [group["lr"] for group in groups]
    try:
        for number, batch in enumerate(found):
            for group, peak in zip(groups, peaks, strict=True):
                group["lr"] = rate(number, peak)
            yield batch
    finally:
        for group, peak in zip(groups, peaks, strict=True):
            group["lr"] = peak


def restarts_of(hyperparameters: Mapping[str, Any]) -> tuple[Restarts, bool] | None:
    """Return `evodevo.evolution.restarts.of` a member; raise `UsageError` for invalid hyperparameters."""
    try:
        return sgdr.of(hyperparameters)
    except ValueError as why:
        raise UsageError(f"search.loci.{why}") from None


def restarted(
    found: tuple[Restarts, bool], training: Training, accumulate: int, number: int, peak: float
) -> float:
    """Return the learning rate for batch `number` of an epoch of a member with these restarts.

    Cycles continue through all epochs, or all steps, for which the parameters have been trained.
    """
    cycles, in_steps = found
    per_epoch = training.steps_per_epoch or 1
    if training.leg.steps is None:
        position = training.epoch * per_epoch + number // accumulate
    else:
        position = (training.leg.before * training.leg.steps + training.step) // accumulate
    return cycles.value(position if in_steps else position / per_epoch, peak)


def update(workload: Workload, training: Training) -> None:
    """Make a step of the optimizer with the accumulated gradients."""
    optimizer, scaler = training.optimizer, training.scaler
    if training.gang is not None:
        training.gang.reduce(_parameters(optimizer))
    if workload.clip_norm is not None:
        if scaler is not None:
            scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(_parameters(optimizer), workload.clip_norm)
    if scaler is None:
        optimizer.step()
    else:
        scaler.step(optimizer)
        scaler.update()
    training.pending = 0


def with_closure(workload: Workload, training: Training, batch: Batch) -> Tensor:
    """Make the step of an optimizer that evaluates the loss repeatedly (L-BFGS)."""
    if workload.accumulate > 1 or training.scaler is not None or training.gang is not None:
        raise UsageError(
            "an optimizer with a closure cannot accumulate gradients, scale the loss, or train on several "
            "workers (cluster.workers_per_member); use another optimizer"
        )

    def closure() -> Tensor:
        training.optimizer.zero_grad(set_to_none=True)
        loss = workload._loss(training, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        if workload.clip_norm is not None:
            nn.utils.clip_grad_norm_(_parameters(training.optimizer), workload.clip_norm)
        return loss

    return torch.as_tensor(training.optimizer.step(closure)).detach()


def end(workload: Workload, training: Training) -> None:
    """Update schedulers and averages after a step of the optimizer."""
    if workload.scheduler_per == "step":
        step_schedulers(training, ())
    if training.averaged is not None:
        # torch's AveragedModel has update_parameters
        own = getattr(training.averaged, "update_parameters", None)
        (own or training.averaged.update)(training.model)


def use_pending(workload: Workload, training: Training) -> None:
    """Make a step with the accumulated gradients, if there are any."""
    if training.pending:
        update(workload, training)
        end(workload, training)


def step_schedulers(training: Training, losses: Sequence[Tensor]) -> None:
    """Step the learning-rate schedulers; after an epoch, `losses` are its losses."""
    scheduler = training.scheduler
    if scheduler is None:
        return
    several = scheduler.values() if isinstance(scheduler, Mapping) else [scheduler]
    for one in several:
        if isinstance(one, torch.optim.lr_scheduler.ReduceLROnPlateau):
            if not losses:
                raise UsageError(
                    "ReduceLROnPlateau needs the mean loss of an epoch; set scheduler_per to epoch"
                )
            one.step(mean_of(losses))
        else:
            one.step()


@functools.cache
def wants_closure(step: Callable[..., Any]) -> bool:
    """Return whether an optimizer's `step` requires a closure."""
    closure = inspect.signature(step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


def _parameters(optimizer: Any) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
