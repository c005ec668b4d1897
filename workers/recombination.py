"""The mean of several members' states: recombination of parameters.

Networks that share ancestors are connected by low loss, so that their mean is a network as good as they are
(Frankle et al. 2020, "Linear mode connectivity and the lottery ticket hypothesis", arXiv 1912.05671).
"""

import json
import re
from collections.abc import Sequence

import safetensors.torch
from torch import Tensor

from workers.state import METADATA_KEY, read_metadata

IN_MODEL = re.compile(r"(networks\.\d+\.)?model\.")
"""What the names of a network's own tensors begin with."""


def mean(checkpoints: Sequence[bytes]) -> bytes:
    """Return the checkpoint whose tensors of floating point are the means of those of `checkpoints`.

    That is so for parameters, buffers, averages and the state of optimizers, as far as all have it in the
    same shape; of members with several networks the first of a mean is that of the first ones, and so on.
    Everything else (counts, settings) is that of the first. Sums are in double precision and in
    the order that is given. Raises `ValueError` if the networks differ in their topology.
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
