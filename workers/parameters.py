"""A model and its optimizer as the bytes of a safetensors file, and back. No code runs on loading.

Tensors are named `model.<name>` and `optimizer.<parameter number>.<key>`; the rest is one JSON text in the
metadata. Nothing says which member it was, so equal parameters make equal files.
"""

import json
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

FORMAT = 1
_METADATA_KEY = "evodevo"  # one key: safetensors does not keep the order of several


def encode(model: nn.Module, optimizer: torch.optim.Optimizer) -> bytes:
    """The state of `model` and `optimizer`, copied off the device."""
    tensors = {f"model.{name}": _host_copy(value) for name, value in model.state_dict().items()}
    scalars: dict[str, dict[str, Any]] = {}
    for number, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{number}.{key}"] = _host_copy(value)
            else:
                scalars.setdefault(str(number), {})[key] = value
    about = {"format": FORMAT, "optimizer": type(optimizer).__name__, "scalars": scalars}
    return safetensors.torch.save(tensors, {_METADATA_KEY: json.dumps(about, sort_keys=True)})


def restore(data: bytes, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Set `model` and `optimizer` to the state in `data`.

    The optimizer keeps its own learning rate, weight decay and so on: only what it has accumulated
    (momentum, step counts) is taken over. If the state is another kind of optimizer's, it starts with none.
    Raises `RuntimeError` where the parameters do not fit the model.
    """
    about = read_metadata(data)
    tensors = safetensors.torch.load(data)
    model.load_state_dict({name[6:]: value for name, value in tensors.items() if name.startswith("model.")})
    if about["optimizer"] != type(optimizer).__name__:
        return
    state: dict[int, dict[str, Any]] = {int(n): dict(keys) for n, keys in about["scalars"].items()}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".", 2)
            state.setdefault(int(number), {})[key] = value
    if state:
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def read_metadata(data: bytes) -> dict[str, Any]:
    """The JSON part of a checkpoint. Raises `ValueError` for a file that evodevo did not write."""
    length = int.from_bytes(data[:8], "little")
    try:
        about: dict[str, Any] = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_METADATA_KEY])
        found = about["format"]
    except (ValueError, KeyError, TypeError) as why:
        raise ValueError("this is no checkpoint of evodevo's") from why
    if found != FORMAT:
        raise ValueError(f"the checkpoint has format {found}; this version reads {FORMAT}")
    return about


def _host_copy(value: Tensor) -> Tensor:
    """A copy in host memory, so that training may go on while the file is written; shared ones are parted."""
    return value.detach().to("cpu", copy=True).contiguous()


def model_state(data: bytes) -> dict[str, Tensor]:
    """The model's part of a checkpoint, by the names of its `state_dict`, on the CPU.

    Raises `ValueError` for a file that evodevo did not write.
    """
    read_metadata(data)
    tensors = safetensors.torch.load(data)
    return {name[6:]: value for name, value in tensors.items() if name.startswith("model.")}
