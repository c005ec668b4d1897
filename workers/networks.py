"""The checkpoint of a member with several networks: those of all of them in one file, and taken apart again.

Tensors of network i are named `networks.<i>.` and what they are called in its own checkpoint; its part of the
metadata is in a list. So each network is there as it would be alone, and what is taken out has the bytes that
were put in.
"""

import json
from collections.abc import Sequence
from typing import Any

import safetensors.torch
from torch import Tensor

from workers.state import METADATA_KEY, SEVERAL, model_state, read_metadata


def packed(checkpoints: Sequence[bytes]) -> bytes:
    """Return the checkpoint of a member whose networks have these, in their order."""
    tensors: dict[str, Tensor] = {}
    about: list[dict[str, Any]] = []
    for at, data in enumerate(checkpoints):
        about.append(read_metadata(data))
        tensors |= {prefix(at) + name: value for name, value in safetensors.torch.load(data).items()}
    told = {"format": SEVERAL, "networks": about}
    return safetensors.torch.save(tensors, {METADATA_KEY: json.dumps(told)})


def unpacked(data: bytes) -> list[bytes]:
    """Return the checkpoint of each network of a member; of one that has one only, that.

    Raises `ValueError` for a file that evodevo did not write.
    """
    about = read_metadata(data)
    if about["format"] != SEVERAL:
        return [data]
    tensors, found = safetensors.torch.load(data), []
    for at, own in enumerate(about["networks"]):
        mine = {
            name.removeprefix(prefix(at)): value
            for name, value in tensors.items()
            if name.startswith(prefix(at))
        }
        found.append(safetensors.torch.save(mine, {METADATA_KEY: json.dumps(own)}))
    return found


def judged_states(data: bytes) -> list[dict[str, Tensor]]:
    """Return `model_state` of each network of a checkpoint."""
    return [model_state(one) for one in unpacked(data)]


def prefix(network: int) -> str:
    """Return what the names of the tensors of a network begin with."""
    return f"networks.{network}."
