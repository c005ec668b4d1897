"""One step of K members of the same form: batch, augmentation, both passes, update, averages, loss."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from workers import batches, stacking
from workers.names import original
from workers.static import capture, form, tables, updates
from workers.static.arena import Arena
from workers.training import Training

if TYPE_CHECKING:
    from workers.workload import Workload


class Obstructed(Exception):
    """A static step cannot be made for the reason given; `tried` tells whether it was attempted."""

    def __init__(self, why: str, tried: bool = True) -> None:
        super().__init__(why)
        self.tried = tried


class Step:
    """A step that only reads from tables, at a counter on the device, and changes an arena.

    It is made for K members; afterwards any K members that it `fits` can use it. On a GPU it is a CUDA graph.
    """

    def __init__(self, workload: Workload, trainings: Sequence[Training], drawn: list[tables.Drawn]) -> None:
        """Make a step; raise `Obstructed` if impossible, and anything the workload raises."""
        first, count = trainings[0], len(trainings)
        self.update = updates.update_of(first)
        self.arena = Arena(first, count, self.update.slots())
        self.network = _network(first, count)
        self.trained = self.arena.attach(self.network, count > 1)
        self.network.train()
        self._gradients = [view if count > 1 else view[0] for view in self.arena.gradients.views.values()]
        self.settings = _vary(self.network, workload.device, count > 1)
        self.attributes = form.attributes_of(first.model, self.settings)

        self.device = workload.device
        self.data = workload.splits.train
        self.size = workload.batch_size_of(first.hyperparameters)
        self.clip_norm, self.averages = workload.clip_norm, first.averaged is not None
        self.hps = [training.hyperparameters for training in trainings]
        self._losses_of: Callable[[Any, Any], Tensor] = _Losses(workload, self).of
        self._change_arena: Callable[[Tensor, Tensor], None] = self._changed
        dtype = self.arena.parameters.buffer.dtype
        self.tables = tables.on_device(drawn, self.device, dtype)
        steps = len(self.tables.order)
        self.numbers = torch.arange(steps, device=self.device)[:, None]
        self.at = torch.zeros(1, dtype=torch.int64, device=self.device)
        self.losses = torch.zeros((steps, count), dtype=dtype, device=self.device)
        """Losses of each step and member, overwritten in the next epoch."""
        self.rows = self.losses.unbind()
        self.replay: Callable[[], None] = self.run
        self.read: dict[str, Any] = {}
        """Hyperparameters that the captured code has read, with their values, which are baked into it."""
        self.is_checked = False
        self._free: torch.cuda.Event | None = None

    def make_ready(self, trainings: Sequence[Training], compiled: bool) -> None:
        """Try the step and capture it; the arena's contents are meaningless afterwards."""
        self.load(trainings)
        with contextlib.ExitStack() as recordings:
            names = [recordings.enter_context(hp.recording()) for hp in self.hps]
            generators, attributes = self._on_host(), form.attributes_of(self.network)
            self.run()
        if self._on_host() != generators:
            raise Obstructed("augment() or the loss draws random numbers on the host; draws() may do that")
        for (module, key), value in form.attributes_of(self.network).items():
            if attributes.get((module, key)) != value and not isinstance(value, form.Same):
                raise Obstructed(f"training changes the attribute {key} of {module or 'the network'}")
        if (name := self.arena.detached()) is not None:
            raise Obstructed(f"training replaces the buffer {name} instead of changing it in place")
        self.read = {name: form.frozen(self.hps[0].get(name)) for name in set().union(*names)}
        if not self.fits(trainings):
            raise Obstructed("the members differ in hyperparameters that augment() or the loss reads")
        if compiled:
            self._losses_of = torch.compile(self._losses_of, dynamic=False)
            self._change_arena = torch.compile(self._change_arena, dynamic=False)
        self.replay = capture.captured(self.run, self.at.zero_, self.device)

    def fits(self, trainings: Sequence[Training]) -> bool:
        """Return whether members of the same form also share the values that are baked into the step."""
        return all(
            all(form.frozen(one.hyperparameters.get(name)) == value for name, value in self.read.items())
            and form.attributes_of(one.model, self.settings) == self.attributes
            for one in trainings
        )

    def load(self, trainings: Sequence[Training], drawn: list[tables.Drawn] | None = None) -> None:
        """Copy members into the step, and with `drawn` their epochs; start at the first batch."""
        if self._free is not None:
            torch.cuda.current_stream(self.device).wait_event(self._free)
        self.hps[:] = [training.hyperparameters for training in trainings]
        for member, training in enumerate(trainings):
            self.arena.load(member, training)
        modules = [dict(original(training.model).named_modules()) for training in trainings]
        for (name, key), setting in self.settings.items():
            values = torch.tensor([float(own[name].__dict__[key]) for own in modules], dtype=setting.dtype)
            setting.copy_(values.view(setting.shape))
        if drawn is not None:
            self.tables.fill(drawn)
        self.at.zero_()

    def store(self, trainings: Sequence[Training], steps: int) -> None:
        """Copy the members' state back after `steps` steps."""
        for member, training in enumerate(trainings):
            if steps:
                self.update.count(training, steps)
                self.arena.store(member, training)
            if training.averaged is not None:
                training.averaged.steps += steps
        if self.device.type == "cuda":
            self._free = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._free.record(torch.cuda.current_stream(self.device))

    def settle(self) -> None:
        """Wait until the device has finished the step, whose memory another stream may get next."""
        if self._free is not None:
            self._free.synchronize()

    def run(self) -> None:
        """Make the step by plain torch calls."""
        count = len(self.hps)
        chosen = self.tables.order.index_select(0, self.at).view(-1)
        lead = (self.size,) if count == 1 else (count, self.size)
        batch = batches.mapped(
            lambda data: data.index_select(0, chosen).view(*lead, *data.shape[1:]), self.data
        )
        drawn = batches.mapped(
            lambda table: table.index_select(0, self.at).view(*lead[:-1], *table.shape[2:]),
            self.tables.draws,
        )
        losses = self._losses_of(batch, drawn)
        gradients = torch.autograd.grad(losses.sum(), self.trained, allow_unused=True)
        self._check(gradients)
        with torch.no_grad():
            torch._foreach_copy_(self._gradients, list(gradients))
            rates = self.tables.rates.index_select(0, self.at)[0]
            self._change_arena(rates, self.tables.weights.index_select(0, self.at).view(-1, 1))
            found = losses.detach().to(self.losses.dtype)
            self.losses.copy_(torch.where(self.numbers == self.at, found, self.losses))
            self.at.add_(1)

    def _changed(self, rates: Tensor, weights: Tensor) -> None:
        if self.clip_norm is not None:
            updates.clip(self.arena, self.clip_norm)
        self.update.apply(self.arena, rates)
        if self.averages:
            updates.average(self.arena, weights)

    def _on_host(self) -> list[str]:
        """Return the states of the generators from which a graph cannot draw."""
        states = [repr(random.getstate()), repr(np.random.get_state())]
        if self.device.type != "cpu":
            states.append(torch.default_generator.get_state().numpy().tobytes().hex())
        return states

    def _check(self, gradients: Sequence[Tensor | None]) -> None:
        for name, gradient in zip(self.arena.layout.trained, gradients, strict=True):
            if gradient is None:
                raise Obstructed(f"{name} gets no gradient")
            if gradient.layout != torch.strided:
                raise Obstructed(f"the gradient of {name} is sparse")


class _Losses:
    """The losses of K members, computed from a batch and the numbers drawn for it."""

    def __init__(self, workload: Workload, step: Step) -> None:
        self._workload, self._step = workload, step

    def of(self, batch: Any, drawn: Any) -> Tensor:
        workload, hps, network = self._workload, self._step.hps, self._step.network
        if len(hps) == 1:
            batch = workload.augment(batch, drawn, hps[0])
            with workload._casting():
                loss = workload.loss(network, batch, hps[0])
            if loss.numel() != 1:
                raise TypeError("loss() should return a scalar tensor")
            return loss.view(1)
        # vmap takes trees of tensors, but `drawn` may be None
        augment = torch.vmap(lambda one, its: workload.augment(one, its, hps[0]), (0, _dims(drawn)))
        batch = augment(batch, drawn)
        with workload._casting():
            return workload.losses(network, batch)


def _dims(tree: Any) -> int | None:
    return None if tree is None else 0


def _network(training: Training, count: int) -> nn.Module:
    """Return the network of one member, or the stacked one of several; raise `Obstructed` if impossible."""
    model = copy.deepcopy(original(training.model))
    if count == 1:
        return model
    try:
        network = stacking.stack(model, count)
    except stacking.NotStackable as why:
        raise Obstructed(f"the network is not stacked: {why}") from why
    kernels = [one for one in model.parameters() if one.ndim == 4]
    if any(
        one.is_contiguous(memory_format=torch.channels_last) and not one.is_contiguous() for one in kernels
    ):
        stacking.channels_last(network)
    return network.to(next(model.parameters()).device)


def _vary(network: nn.Module, device: torch.device, stacked: bool) -> dict[tuple[str, str], Tensor]:
    """Replace settings of modules that may differ between members by tensors; return them by module and name.

    A module lists them in `per_member`. Those of a stacked network are tensors (K,) already.
    """
    found: dict[tuple[str, str], Tensor] = {}
    for name, module in network.named_modules():
        for key in getattr(type(module), "per_member", ()):
            if not stacked:
                setattr(module, key, torch.zeros((), dtype=torch.float64, device=device))
            value = getattr(module, key)
            if not isinstance(value, Tensor) or value.device.type != device.type:
                raise Obstructed(f"{type(module).__qualname__}.{key} is not on the device")
            found[name, key] = value
    return found
