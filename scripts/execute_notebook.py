"""Execute a notebook from its first cell to its last, and save it with its outputs.

    python scripts/execute_notebook.py examples/notebook.ipynb  # needs nbclient and ipykernel

It is executed in an empty directory, which appears as "." in the outputs. A cell tagged `restart` represents
a restart of the kernel: the cells after it are executed in a new kernel. Cells tagged `raises-exception` may
raise.
"""

import argparse
import copy
import tempfile
from pathlib import Path
from typing import Any

TIMEOUT_S = 300
"""Time limit of a cell."""


def executed(notebook: Any, directory: Path) -> Any:
    """Return a copy of a notebook with the outputs of its cells, executed in a directory.

    Raises `nbclient.exceptions.CellExecutionError` if a cell raises that is not tagged for it.
    """
    from nbclient import NotebookClient

    found = copy.deepcopy(notebook)
    for cells in parts(found.cells):
        part = copy.copy(found)
        part.cells = cells
        here = {"metadata": {"path": str(directory)}}
        NotebookClient(part, timeout=TIMEOUT_S, kernel_name="python3", resources=here).execute()
        for cell in cells:
            cell.metadata.pop("execution", None)  # timestamps
    return found


def parts(cells: list[Any]) -> list[list[Any]]:
    """Split the cells at each restart of the kernel."""
    found: list[list[Any]] = [[]]
    for cell in cells:
        found[-1].append(cell)
        if "restart" in cell.metadata.get("tags", []):
            found.append([])
    return found


def without_paths(text: str, directory: Path) -> str:
    """Return a notebook's text with `.` in place of the directory in which it was executed."""
    return text.replace(str(directory.resolve()), ".").replace(str(directory), ".")


def main() -> None:
    """Execute the notebook given on the command line, and save it in place."""
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
