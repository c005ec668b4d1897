"""The notebook in examples/ does what it shows, and is kept with what it showed."""

import importlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "examples" / "notebook.ipynb"

pytestmark = pytest.mark.slow
DONE = "<th>state</th><td>done</td>"


def shown(cell: Any) -> str:
    """What a cell shows, as text and HTML; of an exception its kind and message."""
    found = []
    for output in cell["outputs"]:
        if output["output_type"] == "error":
            found.append(f"{output['ename']}: {output['evalue']}")
        elif output["output_type"] == "stream":
            found.append("".join(output["text"]))
        else:
            found += ["".join(text) for kind, text in output["data"].items() if kind.startswith("text/")]
    return "\n".join(found)


class Cells:
    """The code cells of a notebook, found by a line that only one of them has."""

    def __init__(self, notebook: Any) -> None:
        self.all = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]

    def having(self, line: str) -> str:
        """What the one cell shows that has this line."""
        found = [cell for cell in self.all if line in "".join(cell["source"]).splitlines()]
        assert len(found) == 1, line
        return shown(found[0])


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Cells:
    """Return the notebook's cells, executed in an empty directory with the kernel restarted as tagged."""
    nbformat = pytest.importorskip("nbformat")
    for library in ("nbclient", "ipykernel", "pandas", "sklearn"):
        pytest.importorskip(library)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        execute = importlib.import_module("execute_notebook")
        return Cells(execute.executed(nbformat.read(KEPT, 4), tmp_path_factory.mktemp("notebook")))


def test_a_cluster_in_one_cell_serves_the_runs_of_the_next(cells: Cells) -> None:
    assert re.search(r"<Client of tcp://\S+: 2 workers, runs in \S+>", cells.having("client"))
    assert re.search(r"\[<Run first: \w+, .*<Run second: \w+, ", cells.having("client.runs()"), re.S)


def test_progress_is_shown_where_the_cell_is(cells: Cells) -> None:
    told = cells.having("run.wait()")
    assert DONE in told and '<progress max="10" value="10">' in told
    assert "first: done, generation 10/10" in told


def test_plots_are_shown_inline(cells: Cells) -> None:
    assert cells.having("run.plot()").count('src="data:image/png;base64,') == 2


def test_the_best_model_is_right_about_images_that_nobody_has_seen(cells: Cells) -> None:
    told = cells.having('print(f"{right:.1%} of the test images")')
    assert float(told.partition("%")[0]) > 85


def test_a_second_run_is_done_beside_the_first(cells: Cells) -> None:
    told = cells.having("second.wait()")
    assert re.search(r"\{'first': 0\.\d+, 'second': 0\.\d+\}", told)


def test_errors_say_where_and_what_to_do(cells: Cells) -> None:
    told = cells.having('client.submit(CONFIG, {"run.name": "wider", "workload.use": Wider})')
    assert told.startswith("UsageError: ") and "%%writefile mine.py" in told
    told = cells.having(
        'mine = client.submit(CONFIG, {"run.name": "mine", "search.strategy": "my_search:Mine"})'
    )
    assert re.search(r"\nRunFailed: strategy Mine: .*momentum = 1\.2.*\(in birth, .*my_search\.py:5\)$", told)


def test_a_run_whose_fault_was_fixed_is_resumed(cells: Cells) -> None:
    assert DONE in cells.having("mine.resume()")


def test_a_cancelled_run_has_what_it_found(cells: Cells) -> None:
    assert "<th>state</th><td>cancelled</td>" in cells.having("long.cancel()")
    told = cells.having("print(long.best)")
    assert told.startswith("<Best g") and "best.safetensors" in told and "schedule.yaml" in told


def test_a_run_is_resumed_after_the_kernel_was_restarted(cells: Cells) -> None:
    assert re.search(r"<Run third: interrupted, generation \d+/30", cells.having("again"))
    assert "<Status of third: done, generation 30/30" in cells.having("again.resume()")
    assert "<Best g" in cells.having("again.best")


def test_the_notebook_is_kept_with_outputs_and_without_paths_of_a_machine() -> None:
    text = KEPT.read_text()
    assert not re.search(r"(/tmp|/home|/work|/Users)/", text)
    for cell in Cells(json.loads(text)).all:
        assert cell["execution_count"], (
            "execute it: python scripts/execute_notebook.py examples/notebook.ipynb"
        )
        may_raise = "raises-exception" in cell["metadata"].get("tags", [])
        assert any(output["output_type"] == "error" for output in cell["outputs"]) == may_raise
