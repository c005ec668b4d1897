"""A module is imported again when its file, or that of one it imports, was edited; and not otherwise."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from evodevo import fresh
from evodevo.testing import BrokenRule, check_strategy


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(fresh, "_digests", {})
    (tmp_path / "fresh_pack").mkdir()
    (tmp_path / "fresh_pack" / "__init__.py").write_text("")
    (tmp_path / "fresh_pack" / "rates.py").write_text("RATE = 1\n")
    (tmp_path / "fresh_top.py").write_text("from fresh_pack.rates import RATE\nclass Net:\n    rate = RATE\n")
    (tmp_path / "fresh_other.py").write_text("")
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("fresh_")]:
        del sys.modules[name]


def imported(name: str) -> ModuleType:
    module = importlib.import_module(name)
    fresh.remember(f"{name}:Net")
    return module


def test_a_module_that_was_edited_is_imported_again_also_within_a_second_and_at_the_same_length(
    place: Path,
) -> None:
    before = imported("fresh_top")
    (place / "fresh_top.py").write_text("from fresh_pack.rates import RATE\nclass Net:\n    rate = 1234\n")
    assert fresh.refresh({"use": "fresh_top:Net"})
    after = imported("fresh_top")
    assert after is not before and after.Net.rate == 1234
    (place / "fresh_top.py").write_text("from fresh_pack.rates import RATE\nclass Net:\n    rate = 5678\n")
    assert fresh.refresh({"use": "fresh_top:Net"})
    assert imported("fresh_top").Net.rate == 5678


def test_so_is_one_that_imports_what_was_edited(place: Path) -> None:
    imported("fresh_top")
    (place / "fresh_pack" / "rates.py").write_text("RATE = 2\n")
    assert fresh.refresh(["fresh_top:Net"])
    assert imported("fresh_top").Net.rate == 2


def test_what_was_not_edited_stays_as_it_is(place: Path) -> None:
    before, other = imported("fresh_top"), imported("fresh_other")
    (place / "fresh_other.py").write_text("EDITED = True\n")
    assert not fresh.refresh(
        ["fresh_top:Net", "pathlib:Path", "numpy:array", "evodevo.config:RunConfig", None]
    )
    assert importlib.import_module("fresh_top") is before
    assert importlib.import_module("fresh_other") is other


def test_a_module_that_somebody_else_imported_is_compared_with_the_processs_beginning(place: Path) -> None:
    before = importlib.import_module("fresh_top")  # its file is younger than this process
    assert fresh.refresh("fresh_top:Net")
    assert imported("fresh_top") is not before
    assert not fresh.refresh("fresh_top:Net")


def test_a_file_that_is_gone_counts_as_edited(place: Path) -> None:
    imported("fresh_top")
    (place / "fresh_top.py").unlink()
    assert fresh.refresh("fresh_top:Net")
    with pytest.raises(ModuleNotFoundError):
        imported("fresh_top")


STRATEGY = """from evodevo import Birth, Strategy
class Mine(Strategy):
    def birth(self, generation, slot, parents, own):
        return {answer}
"""


def test_check_strategy_by_name_sees_a_file_that_was_edited(place: Path) -> None:
    file = place / "fresh_search.py"
    file.write_text(STRATEGY.format(answer="None"))
    with pytest.raises(BrokenRule, match="returned None, which is not a Birth"):
        check_strategy("fresh_search:Mine", rules=["a_run_comes_to_its_end"])
    file.write_text(STRATEGY.format(answer="Birth(self.space.given())"))
    check_strategy("fresh_search:Mine", rules=["a_run_comes_to_its_end"])
