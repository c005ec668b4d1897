"""The reference of the Python interface names what there is."""

import re
from pathlib import Path

import evodevo


def test_every_public_name_is_in_the_reference_and_can_be_had() -> None:
    text = (Path(__file__).parents[1] / "docs" / "api.md").read_text()
    listed = {
        name for row in re.findall(r"^\| (`.*?) \|", text, re.M) for name in re.findall(r"`(\w+)`", row)
    }
    assert listed == set(evodevo.__all__)
    assert all(getattr(evodevo, name) for name in evodevo.__all__)
