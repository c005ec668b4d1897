"""Data-parallel training of one member by several workers (a gang), with `torch.distributed`.

Each worker (a rank, 0 to size - 1) has the whole member, makes the whole of every batch and trains on its
share of it. Gradients are summed over the ranks, with each rank's loss weighted by its share of the batch's
length (`Workload.batch_length`), so the sum is the gradient of the mean over the whole batch; every rank then
makes the same step. Everything after the gradient (clipping, a scaler, the optimizer, schedulers, averages)
is the same as with one worker.

`DistributedDataParallel` is not used because it wraps the model, whose parameter names workloads,
checkpoints and inheritance rely on; weights all ranks equally; rearranges its gradient buckets after the
first step; and has to be told of unused parameters and of accumulation. A single sum of all gradients,
concatenated, after each backward pass needs none of that and always adds in the same order. The price is
that communication does not overlap the backward pass.

Batches are made with the random numbers of the member, which are the same on all ranks; numbers drawn within
a step (dropout, augmentation in `loss`) come from a separate stream for each rank. So a result is a function
of config, seed and size.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DataLoader

from evodevo.errors import UsageError
from workers import batches, synchronised
from workers.seeding import Randomness, derived, seed_all

if TYPE_CHECKING:
    from workers.training import Leg, Training
    from workers.workload import Batch, Workload

ERROR_KEY = "error"
KEY = "cluster.workers_per_member"

_current: Gang | None = None


class Broken(OSError):
    """Another rank is gone or does not take part; the attempt is lost, but not by the member's fault."""


class Gang:
    """This process's place among the ranks that train a member.

    Without a `store` there are no other ranks and sums change nothing; a rehearsal tries one rank so.
    """

    def __init__(self, rank: int, size: int, batch_norm: str = "local", store: Any = None) -> None:
        self.rank, self.size = rank, size
        self._batch_norm = batch_norm
        self._store = store
        self._weight = 1.0
        self._losses: list[Tensor] = []
        """Losses of this rank's shares since the last optimizer step; `reduce` sums them over the ranks."""

    def join(self, training: Training, seed: int, device: torch.device) -> None:
        """Start training a member whose state is now the same on all ranks."""
        self._common = Randomness(device)
        seed_all(derived(seed, "rank", self.rank), device)
        self._own = Randomness(device)
        self._common.restore()
        self._losses.clear()
        if self._batch_norm == "synchronised":
            synchronised.apply(training.model, self.add)
        training.gang = self

    def shares(self, workload: Workload, training: Training) -> Generator[Batch, None, None]:
        """Yield this rank's share of each batch of an epoch, with the rank's random stream in force."""
        with contextlib.closing(_closable(workload.train_batches(training))) as found:
            for batch in found:
                share = workload.share(batch, self.rank, self.size)
                self._weight = workload.batch_length(share) / workload.batch_length(batch)
                self._common.save()
                self._own.restore()
                try:
                    yield share
                finally:
                    self._own.save()
                    self._common.restore()

    def weighted(self, loss: Tensor) -> Tensor:
        """Return the contribution of this rank's loss to the mean over the whole batch."""
        return loss * self._weight

    def told(self, loss: Tensor) -> Tensor:
        """Return a loss to report, which becomes that of the whole batch at the next `reduce`."""
        self._losses.append(loss.detach().float() * self._weight)
        return self._losses[-1]

    def reduce(self, parameters: Iterable[Tensor]) -> None:
        """Replace each parameter's gradient, and the reported losses, by the sum over all ranks.

        A parameter without a gradient on every rank keeps none.
        """
        trained = [one for one in parameters if one.requires_grad]
        grads = [one.grad for one in trained]
        for grad in grads:
            if grad is not None and grad.layout != torch.strided:
                raise UsageError(
                    f"{KEY}: the model has sparse gradients, which cannot be summed over workers"
                )
        sums = [torch.zeros_like(p) if g is None else g for p, g in zip(trained, grads, strict=True)]
        there = torch.tensor([grad is not None for grad in grads], dtype=torch.float32, device=sums[0].device)
        self.add([*sums, there, *self._losses])
        self._losses.clear()
        for at, (parameter, grad) in enumerate(zip(trained, grads, strict=True)):
            if grad is None and there[at] > 0:
                parameter.grad = sums[at]

    def check(self, model: torch.nn.Module) -> None:
        """Raise `RuntimeError` unless the parameters are bit for bit the same on all ranks."""
        own = torch.stack([_digest(parameter) for parameter in model.parameters()])
        least, most = own.clone(), own.clone()
        self._all_reduce(least, dist.ReduceOp.MIN)
        self._all_reduce(most, dist.ReduceOp.MAX)
        if not torch.equal(least, most):
            names = [name for name, _ in model.named_parameters()]
            differing = names[int((least != most).nonzero()[0])]
            raise RuntimeError(
                f"the parameters of a gang's workers differ ({differing}): something changes them that draws "
                "random numbers in a step, or depends on a worker's share of a batch; train with "
                f"{KEY}: 1"
            )

    def add(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by their sums over all ranks, with one reduction per dtype and device."""
        kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        for tensor in tensors:
            kinds.setdefault((tensor.dtype, tensor.device), []).append(tensor)
        for alike in kinds.values():
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in alike])
            self._all_reduce(flat, dist.ReduceOp.SUM)
            pieces = torch.split(flat, [tensor.numel() for tensor in alike])
            with torch.no_grad():
                for tensor, piece in zip(alike, pieces, strict=True):
                    tensor.copy_(piece.view_as(tensor))

    def _all_reduce(self, tensor: Tensor, operation: Any) -> None:
        if self._store is None:
            return
        try:
            dist.all_reduce(tensor, operation)
        except RuntimeError as why:
            if told := self._error_of_another():
                raise RuntimeError(told) from None
            said = " ".join(str(why).split()).partition(". ")[0]
            raise Broken(f"another worker of the gang of {self.size} has ended ({said[-200:]})") from why

    def _error_of_another(self) -> str:
        """Return the error that another rank's workload raised; "" if none is known or rank 0 is gone."""
        with contextlib.suppress(RuntimeError):
            if self._store.check([ERROR_KEY]):
                return str(self._store.get(ERROR_KEY).decode())
        return ""


def current() -> Gang | None:
    """Return the gang that this process belongs to, or None."""
    return _current


@contextlib.contextmanager
def in_force(gang: Gang) -> Iterator[Gang]:
    """Make this gang the current one within the block."""
    global _current
    _current = gang
    try:
        yield gang
    finally:
        _current = None
        synchronised.end()


def rehearse(workload: Any, size: int, batch_norm: str, hyperparameters: Any, leg: Leg) -> None:
    """Raise `UsageError` if several workers cannot train a member of this workload together."""
    from workers.workload import Workload

    name = type(workload).__name__
    if not isinstance(workload, Workload):
        raise UsageError(
            f"{KEY}: {name} is not a workers.workload.Workload, so one worker must train each member"
        )
    for method in ("train", "step"):
        if getattr(type(workload), method) is not getattr(Workload, method):
            raise UsageError(
                f"{KEY}: is {size}, but {name} overrides {method}(), in which gradients are not summed over "
                f"workers; set {KEY} to 1"
            )
    training = workload.begin(hyperparameters, 0, None, leg)
    _refuse_uneven(workload, training, size)
    batch = next(iter(workload.train_batches(training)))
    lengths = [workload.batch_length(workload.share(batch, rank, size)) for rank in range(size)]
    if sum(lengths) != workload.batch_length(batch) or not all(lengths):
        raise UsageError(
            f"{KEY}: the shares of a batch of {workload.batch_length(batch)} have lengths {lengths}; "
            "share(batch, rank, size) must give each example to exactly one worker, and batch_length(batch) "
            "return the number of examples"
        )
    training.generator.manual_seed(0)
    with in_force(Gang(0, size, batch_norm)) as gang:
        gang.join(training, 0, workload.device)
        steps = workload.train(training)
        next(steps, None)
        steps.close()


def _refuse_uneven(workload: Workload, training: Training, size: int) -> None:
    """Raise `UsageError` if the ranks cannot share a batch equally."""
    split, key = workload.splits.train, "batch_size"
    count = workload.batch_size_of(training.hyperparameters)
    if isinstance(split, DataLoader):
        if split.batch_size is None:
            return
        key, count = "batch_size of the DataLoader", split.batch_size
    elif not batches.is_tensors(split) and batches.length(split) is None:
        return
    if count % size:
        raise UsageError(f"{KEY}: {key} is {count}, which {size} workers cannot share equally")


def _closable(found: Iterable[Any]) -> Generator[Any, None, None]:
    yield from found


def _digest(parameter: Tensor) -> Tensor:
    """Return the sum of a parameter's elements, their bits read as integers: int64 ()."""
    whole = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    flat = parameter.detach().reshape(-1)
    if flat.is_complex():
        flat = torch.view_as_real(flat).reshape(-1)
    return flat.view(whole[flat.element_size()]).sum(dtype=torch.int64)
