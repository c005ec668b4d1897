"""The networks of members that have several (`search.ploidy`): their origins and ancestral lines. Pure.

A network keeps its place: the second one of a child is the second one of its α or its β, and so on back to a
founder. The networks of a member therefore never come from the same network, however related members are.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from evodevo.evolution.population import Birth
from evodevo.evolution.rng import network_seed
from evodevo.evolution.space import Genome
from evodevo.run.life import Life, Mean
from evodevo.run.records import CheckpointRef

if TYPE_CHECKING:
    from evodevo.run.history import History


def parent_of(life: Life, network: int) -> str | None:
    """Return the member or mean that a network starts from; None for a fresh start."""
    networks = life.birth.networks
    return networks[network].parent if networks else life.birth.parent_params


def line_of(history: "History", life: Life, network: int) -> list[Life]:
    """Return the members in which a network was trained, founder first; for a mean, its best member."""
    line = [life]
    while (parent := history.by_id.get(parent_of(line[-1], network) or "")) is not None:
        line.append(parent.of[0] if isinstance(parent, Mean) else parent)
    return line[::-1]


def genome_of(history: "History", life: Life, network: int) -> Genome:
    """Return the genome that a network is trained with: the member's or, with `genomes: own`, its own."""
    networks = life.birth.networks
    own = networks[network].genome if networks and history.config.search.genomes == "own" else None
    return life.birth.genome if own is None else own


def seed_of(life: Life, network: int) -> int:
    """Return the training seed of a network."""
    networks = life.birth.networks
    own = networks[network].training_seed if networks else None
    return network_seed(life.training_seed, network) if own is None else own


def epochs_before(history: "History", birth: Birth) -> tuple[int, ...]:
    """Return, for each network of a birth, how many epochs its parameters have been trained."""
    names = [network.parent for network in birth.networks] or [birth.parent_params]
    parents = [history.by_id.get(name or "") for name in names]
    return tuple(0 if one is None else history.epochs_trained(one, at) for at, one in enumerate(parents))


def start_of(history: "History", life: Life, leg: int, network: int = 0) -> CheckpointRef | None:
    """Return the checkpoint that a network starts a leg from; None for a fresh start."""
    if leg > life.begins(leg):
        return life.legs[leg - 1].outcome.checkpoint
    name = parent_of(life, network)
    if name is None:
        return history.start
    parent = history.by_id.get(name)
    return parent.outcome.checkpoint if parent and parent.outcome else None


def distinct(refs: Iterable[CheckpointRef | None]) -> tuple[CheckpointRef, ...]:
    """Return each checkpoint once, in order of first appearance."""
    return tuple(dict.fromkeys(ref for ref in refs if ref))
