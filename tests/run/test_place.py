"""Where in a user's code an error came up."""

import importlib
from pathlib import Path

import pytest

from evodevo.run.place import place_of


def test_a_syntax_error_is_told_with_its_own_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "place_slip.py"
    file.write_text("x = 1\ny = (2\nz = = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SyntaxError) as told:
        importlib.import_module("place_slip")
    assert place_of(told.value, importlib.__file__) == f" (in {file}:{told.value.lineno})"
