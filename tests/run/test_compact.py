"""Mappings that take little memory: they are equal to the dicts that they were made from."""

import copy
import json
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evodevo.run.compact import Compact, compact

NUMBERS = st.floats() | st.integers(-(2**63), 2**63 - 1) | st.booleans()


@settings(deadline=None, derandomize=True)
@given(st.dictionaries(st.text(max_size=5), NUMBERS | st.integers() | st.text(max_size=3) | st.none()))
def test_values_keep_their_order_type_and_value(values: dict[str, Any]) -> None:
    found = compact(values)
    assert repr(found) == repr(values)
    assert repr(dict(found)) == repr({**found}) == repr(values)
    assert list(found) == list(found.keys()) == list(values)
    assert repr(list(found.values())) == repr(list(values.values()))
    assert repr([found[name] for name in found]) == repr(list(values.values()))
    assert len(found) == len(values)


@settings(deadline=None, derandomize=True)
@given(st.dictionaries(st.text(max_size=5), NUMBERS))
def test_numbers_of_64_bits_are_packed(values: dict[str, Any]) -> None:
    assert type(compact(values)) is Compact


def test_what_is_packed_is_equal_to_its_dict_and_to_its_copies() -> None:
    values = {"rate": 0.5, "layers": 3, "wide": True}
    found = compact(values)
    assert found == values
    assert values == found
    assert found != {**values, "layers": 4}
    assert compact(found) is found
    assert copy.deepcopy(found) == values
    assert "rate" in found
    assert "depth" not in found
    assert found.get("depth") is None
    with pytest.raises(KeyError, match="depth"):
        found["depth"]


def test_a_packed_mapping_takes_less_than_half_of_its_dict() -> None:
    one, other = (compact({"a": at + 0.5, "b": at + 1.5, "c": at + 2.5, "d": at + 3.5}) for at in (1, 2))
    assert isinstance(one, Compact)
    assert isinstance(other, Compact)
    assert one._layout is other._layout
    values = dict(one)
    whole = sys.getsizeof(values) + sum(map(sys.getsizeof, values.values()))
    assert sys.getsizeof(one) + sys.getsizeof(one._data) < whole / 2


def test_texts_are_shared_if_a_mapping_cannot_be_packed() -> None:
    one, other = (compact(json.loads('{"optimizer": "sgd", "rate": 0.5}')) for _ in range(2))
    assert type(one) is dict
    assert one["optimizer"] is other["optimizer"]
    assert next(iter(one)) is next(iter(other))
