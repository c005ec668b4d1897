"""Export a trained model as a plain torch `state_dict`, without the prefixes that wrappers add to names."""

import io
from collections.abc import Mapping

import safetensors.torch
import torch
from torch import Tensor

from workers.names import plain
from workers.networks import judged_states, prefix

PARALLEL = "module."
COUNTER = "n_averaged"


def plain_state(data: bytes) -> dict[str, Tensor]:
    """Return the `state_dict` of the model in a checkpoint, which the plain network can load.

    The names of an ensemble's networks have the prefix `networks.<i>.`, as in a module whose attribute
    `networks` is a `torch.nn.ModuleList` of them.

    `torch.compile` inserts `_orig_mod` into names, anywhere; `DataParallel` and DDP put `module.` in front of
    all names, and so does `AveragedModel`, which also adds a counter. Raises `ValueError` for a file that
    evodevo did not write.
    """
    each = [_unwrapped(state) for state in judged_states(data)]
    if len(each) == 1:
        return each[0]
    return {prefix(at) + name: value for at, state in enumerate(each) for name, value in state.items()}


def _unwrapped(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    state = {plain(name): value for name, value in stored.items()}
    while wrapped := [name for name in state if name != COUNTER]:
        if not all(name.startswith(PARALLEL) for name in wrapped):
            break
        state = {name.removeprefix(PARALLEL): state[name] for name in wrapped}
    return state


def plain_file(data: bytes, suffix: str) -> bytes:
    """Return the `state_dict` of a checkpoint's model as a file: `.safetensors`, or else by `torch.save`.

    Raises `ValueError` for a file that evodevo did not write, or tensors that safetensors cannot hold.
    """
    state = plain_state(data)
    if suffix != ".safetensors":
        file = io.BytesIO()
        torch.save(state, file)
        return file.getvalue()
    for name, tensor in state.items():
        if tensor.layout != torch.strided:
            raise ValueError(f"{name} is sparse, which safetensors cannot hold; write a .pt file")
    return safetensors.torch.save(_apart(state), {"format": "pt"})


def _apart(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return contiguous tensors that share no memory, which safetensors requires."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in state.items():
        place = tensor.untyped_storage().data_ptr()
        found[name] = tensor.clone() if place in seen else tensor
        found[name] = found[name].contiguous()
        seen.add(place)
    return found
