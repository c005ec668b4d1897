"""Recombination of parameters: the mean of several members' states.

Networks that share ancestors are linearly connected by low loss, so their mean is about as good as they are
(Frankle et al. 2020, "Linear mode connectivity and the lottery ticket hypothesis", arXiv 1912.05671).
"""

import json
import re
from collections.abc import Sequence

import safetensors.torch
from torch import Tensor

from workers.state import METADATA_KEY, read_metadata

IN_MODEL = re.compile(r"(networks\.\d+\.)?model\.")
"""Prefix of the names of a network's parameters and buffers."""


def mean(checkpoints: Sequence[bytes]) -> bytes:
    """Return the checkpoint whose floating-point tensors are the means of those of `checkpoints`.

    These are parameters, buffers, averages and optimizer states, if all checkpoints have them in the same
    shape; ensembles are averaged network by network. Everything else (counts, settings) is taken from the
    first checkpoint. Sums are in double precision and in the given order. Raises `ValueError` if the networks
    differ in their topology.
    """
    first, *others = [safetensors.torch.load(data) for data in checkpoints]
    about = read_metadata(checkpoints[0])
    found: dict[str, Tensor] = {}
    for name, value in first.items():
        same = [one[name] for one in others if name in one and _alike(one[name], value)]
        if len(same) < len(others):
            if found_in := IN_MODEL.match(name):
                raise ValueError(
                    f"the members' networks differ in {name[found_in.end() :]}, so they have no mean; "
                    "leave search.recombine out"
                )
            found[name] = value
        else:
            found[name] = _mean([value, *same]) if value.is_floating_point() else value
    return safetensors.torch.save(found, {METADATA_KEY: json.dumps(about)})


def _mean(values: Sequence[Tensor]) -> Tensor:
    total = values[0].double()
    for value in values[1:]:
        total = total + value.double()
    return (total / len(values)).to(values[0].dtype)


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype
