"""Pack the checkpoints of an ensemble's networks into one file, and unpack them.

Tensors of network i have the prefix `networks.<i>.` before their name in its own checkpoint; its metadata is
an entry of a list. Unpacking restores the bytes of each network's checkpoint.
"""

import json
from collections.abc import Sequence
from typing import Any

import safetensors.torch
from torch import Tensor

from workers.state import METADATA_KEY, SEVERAL, model_state, read_metadata


def packed(checkpoints: Sequence[bytes]) -> bytes:
    """Return the checkpoint of a member from those of its networks, in order."""
    tensors: dict[str, Tensor] = {}
    about: list[dict[str, Any]] = []
    for at, data in enumerate(checkpoints):
        about.append(read_metadata(data))
        tensors |= {prefix(at) + name: value for name, value in safetensors.torch.load(data).items()}
    told = {"format": SEVERAL, "networks": about}
    return safetensors.torch.save(tensors, {METADATA_KEY: json.dumps(told)})


def unpacked(data: bytes) -> list[bytes]:
    """Return the checkpoint of each network of a member; a single network's is returned unchanged.

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
    """Return the `model_state` of each network of a checkpoint."""
    return [model_state(one) for one in unpacked(data)]


def prefix(network: int) -> str:
    """Return the prefix of the names of a network's tensors."""
    return f"networks.{network}."
