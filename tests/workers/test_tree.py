"""Nested plain data as JSON and tensors: it comes back as it was, or is refused by its place."""

import json
import struct
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from workers import tree

DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
    *(torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.float8_e4m3fnuz, torch.complex32),
]
ARRAYS = ["<f8", "<f4", "<f2", "<i8", "<i2", "|u1", "|b1", "<c16", "<c8", "<u4"]


def there_and_back(value: Any) -> Any:
    """Through the bytes of a file."""
    tensors: dict[str, Tensor] = {}
    text = json.dumps(tree.flatten(value, "x", tensors), allow_nan=False)
    return tree.unflatten(json.loads(text), safetensors.torch.load(safetensors.torch.save(tensors)))


def bits(value: Tensor) -> bytes:
    value = value.detach().resolve_conj().resolve_neg().contiguous()
    return value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""


def assert_same(found: Any, wanted: Any) -> None:
    """Equal in every bit, and in type."""
    assert type(found) is type(wanted)
    if isinstance(wanted, Tensor):
        assert (found.dtype, found.shape, found.layout) == (wanted.dtype, wanted.shape, wanted.layout)
        if wanted.layout == torch.sparse_coo:
            assert found.is_coalesced() == wanted.is_coalesced()
            assert_same([found._indices(), found._values()], [wanted._indices(), wanted._values()])
        elif wanted.layout == torch.sparse_csr:
            assert_same(found.crow_indices(), wanted.crow_indices())
            assert_same(found.col_indices(), wanted.col_indices())
            assert_same(found.values(), wanted.values())
        else:
            assert bits(found) == bits(wanted)
    elif isinstance(wanted, np.ndarray):
        assert (found.dtype, found.shape, found.tobytes()) == (wanted.dtype, wanted.shape, wanted.tobytes())
    elif isinstance(wanted, np.generic):
        assert found.tobytes() == wanted.tobytes()
    elif isinstance(wanted, dict):
        assert len(found) == len(wanted)
        for (key, one), (other, two) in zip(found.items(), wanted.items(), strict=True):
            assert_same(key, other)
            assert_same(one, two)
    elif isinstance(wanted, list | tuple):
        assert len(found) == len(wanted)
        for one, two in zip(found, wanted, strict=True):
            assert_same(one, two)
    elif isinstance(wanted, set | frozenset):
        assert_same(sorted(found, key=repr), sorted(wanted, key=repr))
    elif isinstance(wanted, float):
        assert struct.pack("<d", found) == struct.pack("<d", wanted) or found != found != wanted != wanted
    elif isinstance(wanted, complex):
        assert_same([found.real, found.imag], [wanted.real, wanted.imag])
    else:
        assert found == wanted


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 3), max_size=4))
    size = int(np.prod(shape)) * dtype.itemsize
    data = bytearray(draw(st.binary(min_size=size, max_size=size)))
    if dtype == torch.bool:
        data = bytearray(byte & 1 for byte in data)
    made = torch.frombuffer(data, dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)
    made = made.view(dtype).reshape(shape)
    kind = draw(st.sampled_from(["plain", "turned", "expanded", "conjugated", "channels last", "coo", "csr"]))
    if kind == "turned":
        return made.T if made.ndim == 2 else made
    if kind == "expanded":
        return made.expand(2, *shape)
    if kind == "conjugated":
        return made.conj()
    if kind == "channels last" and made.ndim == 4:
        return made.contiguous(memory_format=torch.channels_last)
    if kind == "coo" and dtype == torch.float32 and made.ndim:
        where = torch.tensor([[1, 0, 1]])
        sparse = torch.sparse_coo_tensor(where, made.reshape(-1)[:1].repeat(3), (2,)) if size else made
        return sparse.coalesce() if size and draw(st.booleans()) else sparse
    if kind == "csr" and dtype in (torch.float64, torch.complex64) and made.ndim == 2:
        return made.to_sparse_csr()
    return made


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    dtype = np.dtype(draw(st.sampled_from(ARRAYS)))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    made = np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)
    return made.T if draw(st.booleans()) else made


numbers = st.one_of(st.integers(), st.floats(), st.booleans(), st.complex_numbers())
hashable = st.one_of(st.none(), numbers, st.text(), st.binary())
keys = st.one_of(hashable, st.tuples(hashable, hashable), st.frozensets(st.integers()))
leaves = st.one_of(
    hashable,
    tensors(),
    arrays(),
    st.sampled_from(DTYPES),
    st.sampled_from(ARRAYS).map(lambda kind: np.dtype(kind).type(1)),
    st.floats().map(np.float64),
    st.lists(st.integers(0, 5)).map(torch.Size),
    st.sets(st.one_of(st.integers(), st.text())),
    st.frozensets(st.floats()),
    st.dictionaries(st.text(), st.integers()).map(Counter),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.dictionaries(keys, inner, max_size=4).map(OrderedDict),
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(values)
def test_nested_values_come_back_with_all_bits_and_types(value: Any) -> None:
    assert_same(there_and_back(value), value)


def test_names_that_come_to_the_same_place_are_kept_apart() -> None:
    value = {"a.b": torch.zeros(1), "a": {"b": torch.ones(1), "b~": torch.ones(2)}, "a.b~": torch.ones(3)}
    assert_same(there_and_back(value), value)


def test_tensors_are_named_after_their_places() -> None:
    found: dict[str, Tensor] = {}
    tree.flatten({"seen": (3, torch.zeros(1)), 5: [torch.zeros(2)]}, "x", found)
    assert list(found) == ["x.seen.1", "x.5.0"]


def test_what_is_flattened_is_a_copy() -> None:
    tensor, array = torch.zeros(2), np.zeros(2)
    found: dict[str, Tensor] = {}
    text = tree.flatten([tensor, array], "x", found)
    tensor += 1
    array += 1
    assert_same(tree.unflatten(text, found), [torch.zeros(2), np.zeros(2)])


def test_a_layout_with_the_channels_last_stays_as_it_was() -> None:
    tensor = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    assert there_and_back(tensor).stride() == tensor.stride()
    video = torch.randn(2, 3, 4, 5, 6).to(memory_format=torch.channels_last_3d)
    assert there_and_back(video).stride() == video.stride()


class Own:
    pass


class Text(str):
    pass


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Own(), "test_tree.Own"),
        (lambda: 0, "builtins.function"),
        (Text("a"), "test_tree.Text"),
        (deque([1]), "collections.deque"),
        (defaultdict(int), "collections.defaultdict"),
        (np.array([Own()]), "numpy.ndarray"),
        (np.array(["2026-01-01"], dtype="datetime64[D]"), "numpy.ndarray"),
        (np.longdouble(1), "numpy.longdouble"),
        (np.zeros(1, dtype=np.longdouble), "numpy.ndarray"),
        (np.zeros(2, dtype=">f4"), "numpy.ndarray"),
        (torch.device("cpu"), "torch.device"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_cannot_be_kept_is_refused_by_its_place_and_kind(value: Any, kind: str) -> None:
    with pytest.raises(tree.Unsavable) as caught:
        tree.flatten({"a": [0, {"b": value}]}, "model", {})
    message = str(caught.value)
    assert message.startswith("model.a.1.b is a ")
    assert kind in message
    assert "numbers, texts, tensors" in message


def test_a_tensor_of_a_kind_that_cannot_be_kept_is_refused_by_its_place() -> None:
    for tensor in (
        torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        torch.eye(4).to_sparse_csc(),
        torch.empty(2, device="meta"),
    ):
        with pytest.raises(tree.Unsavable, match=r"^model\.weight is a tensor of a kind"):
            tree.flatten({"weight": tensor}, "model", {})


def test_a_key_that_cannot_be_kept_is_refused_by_its_place() -> None:
    with pytest.raises(tree.Unsavable, match=r"^model\.key is a "):
        tree.flatten({Own(): 1}, "model", {})
