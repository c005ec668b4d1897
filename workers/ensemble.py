"""Members that are ensembles (`search.ploidy`): several networks, trained in turn and judged together.

Each network is bit for bit what it would be as a separate member with its seed: the global generators are
restored to where it left them. The workload only provides `combine`: its `metrics` is given an `Ensemble`, a
model that is called like a network and returns combined outputs.
"""

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from evodevo.errors import UsageError
from workers import rehearsal
from workers.build import Trainable
from workers.hyperparameters import Hyperparameters
from workers.networks import packed, prefix, unpacked
from workers.seeding import Randomness, derived
from workers.training import Leg, Training
from workers.workload import Splits, Workload

Combine = Callable[[Sequence[Any]], Any]


class Ensemble(nn.Module):
    """Networks that are called as one; `combine` merges their outputs into what one of them would return."""

    def __init__(self, networks: Sequence[nn.Module], combine: Combine) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.combine = combine

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self.combine([network(*inputs, **named) for network in self.networks])


@dataclass
class Networks(Training):
    """A member with several networks while it is being trained; `model` is the ensemble.

    `randomness` is the state of the global generators for each network.
    """

    networks: Sequence[Training] = ()
    randomness: Sequence[Randomness] = ()
    combine: Combine = field(default=lambda outputs: outputs[0])

    @property
    def judged(self) -> nn.Module:
        return Ensemble([one.judged for one in self.networks], self.combine)

    def parts(self) -> dict[str, Any]:
        return {
            prefix(at) + name: part
            for at, one in enumerate(self.networks)
            for name, part in one.parts().items()
        }

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[nn.Module]:
        with contextlib.ExitStack() as stack:
            models = [stack.enter_context(one.evaluating()) for one in self.networks]
            yield Ensemble(models, self.combine).eval()

    def turns(self) -> Iterator[Training]:
        """Yield each network in turn, with the global generators where it left them, and its epoch set."""
        for one, randomness in zip(self.networks, self.randomness, strict=True):
            one.epoch = one.leg.before + self.epoch - self.leg.before
            with randomness.in_force():
                yield one


@dataclass(frozen=True)
class Start:
    """The arguments of `Workload.begin` for one network."""

    hyperparameters: Mapping[str, Any]
    training_seed: int
    parent: bytes | None
    leg: Leg


class EnsembleWorkload:
    """A workload whose members have `ploidy` networks; `network` is the workload of a single network."""

    def __init__(self, network: Trainable, ploidy: int) -> None:
        """Wrap a workload; raise `UsageError` if it does not define how predictions are combined."""
        if not isinstance(network, Workload) or type(network).combine is Workload.combine:
            name = type(network).__name__
            raise UsageError(
                f"search.ploidy: is {ploidy}, but {name} does not define how to combine the predictions of "
                "several networks; add a method combine(outputs), or leave ploidy out"
            )
        self.network: Workload = network
        self.ploidy = ploidy
        self.suffix = network.suffix
        self.continues = network.continues

    @property
    def splits(self) -> Splits:
        return self.network.splits

    def prepare(self, device: Any, data_root: str | None) -> None:
        self.network.prepare(device, data_root)

    def begin(
        self,
        hyperparameters: Mapping[str, Any],
        training_seed: int,
        parent: bytes | None,
        leg: Leg = Leg(),  # noqa: B008
    ) -> Networks:
        """Return a member whose networks have different seeds, fresh or with the states in `parent`.

        Raises `ValueError` if the parent has a different number of networks.
        """
        parents: list[bytes] | list[None] = [None] * self.ploidy if parent is None else unpacked(parent)
        if len(parents) != self.ploidy:
            raise ValueError(
                f"the checkpoint holds {len(parents)} networks, but search.ploidy is {self.ploidy}"
            )
        return self.begin_each(
            [Start(hyperparameters, _seed(training_seed, at), data, leg) for at, data in enumerate(parents)]
        )

    def begin_each(self, starts: Sequence[Start]) -> Networks:
        """Return a member with one network per start."""
        networks, randomness = [], []
        for at, start in enumerate(starts):
            leg = start.leg
            if leg.initial_seed is not None:  # founders begin alike, the networks within each differ
                leg = replace(leg, initial_seed=_seed(leg.initial_seed, at))
            networks.append(self.network.begin(start.hyperparameters, start.training_seed, start.parent, leg))
            randomness.append(Randomness(self.network.device))
        first = networks[0]
        made = Networks(
            Ensemble([one.model for one in networks], self.network.combine),
            {},
            Hyperparameters(starts[0].hyperparameters),
            first.generator,
            first.leg,
            first.epoch,
            steps_per_epoch=first.steps_per_epoch,
            networks=networks,
            randomness=randomness,
            combine=self.network.combine,
        )
        for one in networks:
            made.notes += one.notes
            one.notes = made.notes
        return made

    def train(self, state: Networks) -> Generator[Tensor, None, None]:
        """Train an epoch of each network, one after the other."""
        for one in state.turns():
            yield from self.network.train(one)

    def checkpoint(self, state: Networks) -> bytes:
        return packed([self.network.checkpoint(one) for one in state.networks])

    def evaluate(self, state: Networks, split: str) -> dict[str, float]:
        return self.network.evaluate(state, split)

    def exhibits(self, state: Networks) -> Mapping[str, bytes]:
        """Return the exhibits of the first network."""
        return self.network.exhibits(state.networks[0])

    def rehearse(
        self,
        hyperparameters: Mapping[str, Any],
        other: Mapping[str, Any] | None = None,
        leg: Leg = Leg(total=2),  # noqa: B008
        heirs: Sequence[Mapping[str, Any]] = (),
    ) -> tuple[list[str], set[str]]:
        """Try a round with one network, and the metrics of an ensemble."""
        found = self.network.rehearse(hyperparameters, other, leg, heirs)
        state = self.begin(hyperparameters, rehearsal.SEED, None, leg)
        try:
            names = list(rehearsal.validation_metrics(self.network, state))
        except UsageError:
            raise
        except Exception as why:
            raise UsageError(
                f"search.ploidy: is {self.ploidy}, but metrics() fails for an ensemble, a model that can "
                f"only be called and returns the result of combine(outputs): {type(why).__name__}: {why}"
            ) from why
        if names != found[0]:
            raise UsageError(
                f"search.ploidy: metrics() returns {', '.join(names)} for an ensemble, "
                f"but {', '.join(found[0])} for one network"
            )
        return found

    def facts(self) -> list[str]:
        return [*self.network.facts(), f"{self.ploidy} networks per member, whose predictions are combined"]


def single(workload: Any) -> Any:
    """Return the workload whose members have one network."""
    return workload.network if isinstance(workload, EnsembleWorkload) else workload


def networks_of(training: Training) -> Sequence[Training]:
    """Return the networks of a member; a member with a single network is its own."""
    return training.networks if isinstance(training, Networks) else [training]


def _seed(seed: int, network: int) -> int:
    """Return the seed of a network derived from the member's; the first network uses the member's itself."""
    return derived(seed, "network", network) if network else seed
