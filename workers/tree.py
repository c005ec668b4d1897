"""Convert nested plain data with tensors to JSON and named tensors, and back with exact types.

    {"lr": 0.1, "seen": (3, tensor)}  ->  {"dict": [["lr", 0.1], ["seen", {"tuple": [3, {"tensor":
    "x.seen.1"}]}]]}

Pickle is not used; a value of another kind is refused by its name.
"""

import base64
import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

Json = Any
Tensors = dict[str, Tensor]

_LAYOUTS = {"channels_last": torch.channels_last, "channels_last_3d": torch.channels_last_3d}
_BYTES = {
    getattr(torch, name)
    for name in ("float8_e8m0fnu", "float4_e2m1fn_x2", "float8_e4m3fnuz", "float8_e5m2fnuz")
    if hasattr(torch, name)
}
"""One-byte types that some or all versions of safetensors lack."""


class Unsavable(TypeError):
    """A value of a kind that a checkpoint cannot keep; the message names it."""


def flatten(value: Any, name: str, tensors: Tensors) -> Json:
    """Return `value` as JSON, adding a host copy of each tensor in it to `tensors`, named after its place.

    Raises `Unsavable` for anything but None, numbers, texts, bytes, tensors (dense, sparse COO and CSR),
    numpy arrays, and lists, tuples, sets and dicts of these.
    """
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, Tensor):
        return _flatten_tensor(value, name, tensors)
    if kind in _SEQUENCES:
        items = [flatten(item, f"{name}.{at}", tensors) for at, item in enumerate(value)]
        return items if kind is list else {kind.__name__: items}
    if kind in (set, frozenset):
        return {kind.__name__: [flatten(item, name, tensors) for item in sorted(value, key=repr)]}
    if kind in _DICTS:
        pairs = [
            [flatten(key, f"{name}.key", tensors), flatten(item, f"{name}.{key}", tensors)]
            for key, item in value.items()
        ]
        return {kind.__name__: pairs}
    if kind is bytes:
        return {"bytes": base64.b64encode(value).decode()}
    if kind is complex:
        return {"complex": [flatten(value.real, name, tensors), flatten(value.imag, name, tensors)]}
    if kind is torch.dtype:
        return {"dtype": str(value).removeprefix("torch.")}
    if kind is np.ndarray and _is_usual(value.dtype, "biufc"):
        return {"array": _put(torch.from_numpy(value.copy()), name, tensors)}
    if isinstance(value, np.generic) and _is_usual(value.dtype, "biufc"):
        return {"number": [value.dtype.name, value.tobytes().hex()]}
    raise Unsavable(
        f"{name} is a {kind.__module__}.{kind.__qualname__}, which a checkpoint cannot keep; it keeps "
        "numbers, texts, tensors, numpy arrays, and lists, tuples, sets and dicts of these"
    )


def unflatten(value: Json, tensors: Mapping[str, Tensor]) -> Any:
    """Return the value that `flatten` converted."""
    if isinstance(value, list):
        return [unflatten(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    return _READERS[kind](content, tensors)


def _is_usual(dtype: np.dtype[Any], kinds: str) -> bool:
    """Return whether torch has this type: native byte order, and not a long double."""
    return dtype.kind in kinds and dtype.isnative and dtype.itemsize <= (16 if dtype.kind == "c" else 8)


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal and of the same type."""
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return isinstance(one, Tensor) and isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return type(one) is type(other) and bool(one == other)


def _flatten_tensor(value: Tensor, name: str, tensors: Tensors) -> Json:
    value = value.detach()
    known = value.layout in (torch.strided, torch.sparse_coo, torch.sparse_csr)
    if value.is_quantized or value.is_meta or not known:
        kind = "quantized" if value.is_quantized else "without data" if value.is_meta else value.layout
        raise Unsavable(f"{name} is a tensor of a kind that a checkpoint cannot keep: {kind}")
    if value.layout == torch.sparse_coo:
        # indices() and values() refuse tensors that are not coalesced
        parts = [_put(part, f"{name}.{end}", tensors) for end, part in
                 (("indices", value._indices()), ("values", value._values()))]  # fmt: skip
        return {"coo": [*parts, list(value.shape), value.is_coalesced()]}
    if value.layout == torch.sparse_csr:
        own = (("rows", value.crow_indices()), ("columns", value.col_indices()), ("values", value.values()))
        return {"csr": [*(_put(part, f"{name}.{end}", tensors) for end, part in own), list(value.shape)]}
    return {"tensor": _put(value, name, tensors)}


def _put(value: Tensor, name: str, tensors: Tensors) -> Json:
    """Copy a dense tensor off the device, so that training can continue while the file is written."""
    unique = name
    while unique in tensors:
        unique += "~"
    copied = value.detach().to("cpu", copy=True).resolve_conj().resolve_neg().contiguous()
    if value.dtype in _BYTES:
        tensors[unique] = copied.view(torch.uint8)
    elif value.dtype.is_complex:
        tensors[unique] = torch.view_as_real(copied)
    else:
        tensors[unique] = copied
        layout = _layout_of(value)
        return [unique, layout] if layout else unique
    return [unique, str(value.dtype).removeprefix("torch.")]


def _layout_of(value: Tensor) -> str | None:
    name = {4: "channels_last", 5: "channels_last_3d"}.get(value.ndim)
    if name is None or value.is_contiguous() or not value.is_contiguous(memory_format=_LAYOUTS[name]):
        return None
    return name


def _get(name: Json, tensors: Mapping[str, Tensor]) -> Tensor:
    if not isinstance(name, list):
        return tensors[name]
    if name[1] in _LAYOUTS:  # sums over another layout differ in their last bits
        return tensors[name[0]].contiguous(memory_format=_LAYOUTS[name[1]])
    dtype = getattr(torch, name[1])
    return torch.view_as_complex(tensors[name[0]]) if dtype.is_complex else tensors[name[0]].view(dtype)


def _coo(content: Json, tensors: Mapping[str, Tensor]) -> Tensor:
    indices, values, shape, coalesced = content
    parts = _get(indices, tensors), _get(values, tensors)
    return torch.sparse_coo_tensor(*parts, shape, is_coalesced=coalesced, check_invariants=False)


def _csr(content: Json, tensors: Mapping[str, Tensor]) -> Tensor:
    *parts, shape = content
    rows, columns, values = (_get(part, tensors) for part in parts)
    return torch.sparse_csr_tensor(rows, columns, values, shape, check_invariants=False)


def _sequence(make: Callable[[Any], Any]) -> "_Reader":
    return lambda content, tensors: make([unflatten(item, tensors) for item in content])


def _dict(make: Callable[[Any], Any]) -> "_Reader":
    def read(content: Json, tensors: Mapping[str, Tensor]) -> Any:
        return make({unflatten(key, tensors): unflatten(item, tensors) for key, item in content})

    return read


_Reader = Callable[[Json, Mapping[str, Tensor]], Any]
_SEQUENCES = (list, tuple, torch.Size)
_DICTS = (dict, OrderedDict, Counter)

_READERS: Mapping[str, _Reader] = {
    "float": lambda content, tensors: float(content),
    "complex": lambda content, tensors: complex(*(unflatten(part, tensors) for part in content)),
    "tensor": _get,
    "coo": _coo,
    "csr": _csr,
    "array": lambda content, tensors: _get(content, tensors).numpy().copy(),
    "number": lambda content, tensors: np.frombuffer(bytes.fromhex(content[1]), content[0])[0],
    "bytes": lambda content, tensors: base64.b64decode(content),
    "dtype": lambda content, tensors: getattr(torch, content),
    "tuple": _sequence(tuple),
    "Size": _sequence(torch.Size),
    "set": _sequence(set),
    "frozenset": _sequence(frozenset),
    "dict": _dict(dict),
    "OrderedDict": _dict(OrderedDict),
    "Counter": _dict(Counter),
}
