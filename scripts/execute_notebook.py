"""Execute a notebook from its first cell to its last, and write it with its outputs.

python scripts/execute_notebook.py examples/notebook.ipynb  # needs nbclient and ipykernel

It is executed in an empty directory, which its outputs then call ".". A cell tagged `restart` stands for a
restart of the kernel: the cells after it are executed in a new one. Cells tagged `raises-exception` may
raise.
"""

import argparse
import copy
import tempfile
from pathlib import Path
from typing import Any

TIMEOUT_S = 300
"""Of one cell."""


def executed(notebook: Any, directory: Path) -> Any:
    """Return a copy of a notebook with the outputs that its cells have in a directory.

    Raises `nbclient.exceptions.CellExecutionError` where a cell raises that is not tagged for it.
    """
    from nbclient import NotebookClient

    found = copy.deepcopy(notebook)
    for cells in parts(found.cells):
        part = copy.copy(found)
        part.cells = cells
        here = {"metadata": {"path": str(directory)}}
        NotebookClient(part, timeout=TIMEOUT_S, kernel_name="python3", resources=here).execute()
        for cell in cells:
            cell.metadata.pop("execution", None)  # when each cell was run
    return found


def parts(cells: list[Any]) -> list[list[Any]]:
    """Split cells into those before and after each restart of the kernel."""
    found: list[list[Any]] = [[]]
    for cell in cells:
        found[-1].append(cell)
        if "restart" in cell.metadata.get("tags", []):
            found.append([])
    return found


def without_paths(text: str, directory: Path) -> str:
    """Return the text of a notebook in which the directory that it was executed in is `.`."""
    return text.replace(str(directory.resolve()), ".").replace(str(directory), ".")


def main() -> None:
    """Execute the notebook that is named on the command line, and write it anew."""
    import nbformat

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebook", type=Path)
    path = parser.parse_args().notebook
    with tempfile.TemporaryDirectory() as name:
        text = nbformat.writes(executed(nbformat.read(path, 4), Path(name)))
        path.write_text(without_paths(text, Path(name)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
