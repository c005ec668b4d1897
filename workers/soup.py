"""Greedy soup: the mean of those networks of the last generation that improve it.

Starting with the best, each network is added to the mean if that improves the validation fom (Wortsman et al.
2022, "Model soups", arXiv 2203.05482). Nothing is trained; only statistics of batch normalisation, which
cannot be averaged, are recomputed on training batches that are augmented as in training.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from evodevo.evolution.fitness import Mode, is_better, is_usable
from evodevo.run.records import CheckpointRef, Job
from workers import state, tree
from workers.batches import batch_length
from workers.build import Trainable
from workers.cache import read_checkpoint, store_of, workload_for
from workers.ensemble import Networks, networks_of, single
from workers.leg import weighted
from workers.names import plain
from workers.networks import judged_states, packed, prefix
from workers.preload import current_device
from workers.seeding import derived, seed_all
from workers.training import Training, leg_of
from workers.turns import using_device
from workers.workload import Workload

STEM = "soup-a0"
"""Stem of the soup's checkpoint name, in place of a member's id and attempt."""
STATISTICS_EXAMPLES = 2000


@using_device
def make_soup(
    job: Job,
    mode: Mode,
    candidates: Sequence[CheckpointRef],
    hyperparameters: Mapping[str, Any],
    remakes: CheckpointRef | None = None,
) -> dict[str, Any]:
    """Return `of` (the positions of the candidates in the soup), its `fom`, `metrics` and `checkpoint`.

    `candidates` are checkpoints, best first; `hyperparameters` are those of the best. Networks whose topology
    differs from the best one's are left out. Ensembles are averaged network by network. If the soup has the
    content of `remakes`, it gets that name.
    """
    torch.set_num_threads(job.threads)
    workload, _ = workload_for(job)
    data = read_checkpoint(store_of(job), candidates[0])
    training = workload.begin(hyperparameters, derived(job.seed, STEM), data, leg_of(job))
    total = _state(data)
    of, kept = [0], total
    shapes = {name: value.shape for name, value in total.items()}
    fom, metrics = _evaluated(job, workload, training, kept, count=1)
    for position, ref in enumerate(candidates[1:], start=1):
        more = _state(read_checkpoint(store_of(job), ref))
        if {name: value.shape for name, value in more.items()} != shapes:
            continue  # another topology
        tried = {
            name: value + more[name] if value.is_floating_point() else value for name, value in total.items()
        }
        mean = {
            name: value / (len(of) + 1) if value.is_floating_point() else value
            for name, value in tried.items()
        }
        found, its_metrics = _evaluated(job, workload, training, mean, count=len(of) + 1)
        if is_usable(found) and (not is_usable(fom) or is_better(found, fom, mode)):
            of, total, kept, fom, metrics = [*of, position], tried, mean, found, its_metrics
    _load(workload, training, kept, len(of))
    encoded = _encoded(training)
    ref = store_of(job).ref(STEM, encoded)
    if remakes and remakes.has_content_of(ref):
        ref = remakes
        store_of(job).clear(ref.name)
    store_of(job).write({ref.name: encoded})
    return {"of": of, "fom": fom, "metrics": metrics, "checkpoint": asdict(ref)}


def recalibrate(workload: Workload, training: Training) -> None:
    """Recompute the statistics of the judged network's batch normalisation as plain means over batches."""
    model = training.judged
    layers = [one for one in model.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    layers = [one for one in layers if one.track_running_stats]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    model.train()
    seen = 0
    with torch.no_grad():
        while seen < STATISTICS_EXAMPLES:
            before = seen
            for batch in workload.train_batches(training):
                hp = training.hyperparameters
                workload.loss(model, workload.augmented(batch, hp), hp)
                seen += batch_length(batch)
                if seen >= STATISTICS_EXAMPLES:
                    break
            if seen == before:
                break
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    model.eval()


def _state(data: bytes) -> dict[str, Tensor]:
    """Return parameters and buffers of the judged networks, with floating point in double precision.

    The names have each network's `prefix`.
    """
    return {
        prefix(at) + name: value.double() if value.is_floating_point() else value
        for at, found in enumerate(judged_states(data))
        for name, value in found.items()
    }


def _load(workload: Trainable, training: Training, tensors: Mapping[str, Tensor], count: int) -> None:
    for at, one in enumerate(networks_of(training)):
        own = one.judged.state_dict()
        names = {prefix(at) + plain(name): name for name in own}
        given = {names[name]: value for name, value in tensors.items() if name in names}
        one.judged.load_state_dict({name: value.to(own[name].dtype) for name, value in given.items()})
        if count > 1:
            network: Workload = single(workload)
            seed = one.generator.initial_seed()
            seed_all(seed, network.device)
            one.generator.manual_seed(seed)
            recalibrate(network, one)


def _evaluated(
    job: Job, workload: Trainable, training: Training, tensors: Mapping[str, Tensor], count: int
) -> tuple[float | None, dict[str, float]]:
    _load(workload, training, tensors, count)
    seed_all(derived(job.seed, "evaluate"), current_device())
    metrics = weighted(job, workload.evaluate(training, "validation"))
    return metrics.get(job.metric), metrics


def _encoded(training: Training) -> bytes:
    """Return a checkpoint of only the model, or of only the networks of an ensemble."""
    each = [_encoded_network(one) for one in networks_of(training)]
    return packed(each) if isinstance(training, Networks) else each[0]


def _encoded_network(training: Training) -> bytes:
    tensors: dict[str, Tensor] = {}
    model = {plain(name): value for name, value in training.judged.state_dict().items()}
    about = {"format": state.FORMAT, "parts": {"model": tree.flatten(model, "model", tensors)}}
    return safetensors.torch.save(tensors, {state.METADATA_KEY: json.dumps(about)})
