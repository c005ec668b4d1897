"""The notebook in examples/ does what it shows, and is kept as it was when it was executed."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "examples" / "notebook.ipynb"

pytestmark = pytest.mark.slow

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
sys.path.append(str(ROOT / "scripts"))
from execute_notebook import executed, parts, without_paths  # noqa: E402


def texts(cell: Any) -> str:
    """What a cell shows, as text and HTML; its errors without colours."""
    found = []
    for output in cell.get("outputs", []):
        if output.output_type == "error":
            found.append(f"{output.ename}: {output.evalue}")
        elif output.output_type == "stream":
            found.append(output.text)
        else:
            found += [str(value) for kind, value in output.data.items() if kind.startswith("text/")]
    return "\n".join(found)


def shown_by(notebook: Any, line: str) -> str:
    """What the one cell shows that has this line."""
    (cell,) = [cell for cell in notebook.cells if line in cell.source.splitlines()]
    return texts(cell)


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Executed in an empty directory, its kernel restarted where it says so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
        return executed(nbformat.read(KEPT, 4), tmp_path_factory.mktemp("notebook"))
