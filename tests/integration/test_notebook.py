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

    def after(self, *lines: str) -> str:
        """What the one cell shows that ends with these lines."""
        found = [cell for cell in self.all if "".join(cell["source"]).splitlines()[-len(lines) :] == [*lines]]
        assert len(found) == 1, lines
        return shown(found[0])


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Cells:
    """Of the notebook executed in an empty directory, its kernel restarted where it says so."""
    nbformat = pytest.importorskip("nbformat")
    for library in ("nbclient", "ipykernel", "pandas", "sklearn"):
        pytest.importorskip(library)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        execute = importlib.import_module("execute_notebook")
        return Cells(execute.executed(nbformat.read(KEPT, 4), tmp_path_factory.mktemp("notebook")))


def test_a_cluster_in_one_cell_serves_the_runs_of_the_next(cells: Cells) -> None:
    assert re.search(r"<Client of tcp://\S+: 2 workers, runs in \S+>", cells.after("client"))
    assert re.search(r"\[<Run first: \w+, .*<Run second: \w+, ", cells.after("client.runs()"))


def test_progress_is_shown_where_the_cell_is(cells: Cells) -> None:
    assert re.search(r"<th>state</th><td>done</td>", cells.after("run.wait()"))
    assert '<progress max="10" value="10">' in cells.after("run.wait()")


def test_plots_are_shown_inline(cells: Cells) -> None:
    assert cells.after("run.plot()").count('src="data:image/png;base64,') == 2


def test_the_best_model_is_right_about_images_that_nobody_has_seen(cells: Cells) -> None:
    told = cells.after('print(f"{right:.1%} of the test images")')
    assert float(told.partition("%")[0]) > 85


def test_a_second_run_is_done_beside_the_first(cells: Cells) -> None:
    told = cells.after("second.wait()", "{one.name: one.best.fom for one in client.runs()}")
    assert re.search(r"\{'first': 0\.\d+, 'second': 0\.\d+\}", told)


def test_errors_say_where_and_what_to_do(cells: Cells) -> None:
    told = cells.after('client.submit(CONFIG, {"run.name": "wider", "workload.use": Wider})')
    assert told.startswith("UsageError: ") and "%%writefile mine.py" in told
    fault = cells.after("mine.wait()").splitlines()[-1]
    assert re.match(r"RunFailed: strategy Mine: .*momentum = 2\.0.*\(in birth, .*my_search\.py:5\)", fault), (
        fault
    )


def test_a_run_whose_fault_was_mended_is_carried_on(cells: Cells) -> None:
    assert re.search(r"<th>state</th><td>done</td>", cells.after("mine.resume()", "mine.wait()"))


def test_a_cancelled_run_has_what_it_found(cells: Cells) -> None:
    assert re.search(r"<th>state</th><td>cancelled</td>", cells.after("long.cancel()", "long.wait()"))
    last = next(shown(cell) for cell in cells.all if "".join(cell["source"]).startswith("print(long.best)"))
    assert last.startswith("<Best g") and "best.safetensors" in last and "schedule.yaml" in last


def test_a_run_goes_on_after_the_kernel_was_restarted(cells: Cells) -> None:
    opened = shown(next(c for c in cells.all if 'evodevo.open_run("third")' in "".join(c["source"])))
    assert re.search(r"<Run third: interrupted, generation \d+/60", opened)
    assert "attempts lost" not in opened, "the cluster ends in order when its kernel does"
    assert "<Status of third: done, generation 60/60" in cells.after("run.resume()", "run.wait()")


def test_the_notebook_is_kept_with_outputs_and_without_paths_of_a_machine() -> None:
    text = KEPT.read_text()
    assert not re.search(r"(/tmp|/home|/work|/Users)/", text)
    for cell in Cells(json.loads(text)).all:
        assert cell["execution_count"], (
            "execute it: python scripts/execute_notebook.py examples/notebook.ipynb"
        )
        may_raise = "raises-exception" in cell["metadata"].get("tags", [])
        assert any(output["output_type"] == "error" for output in cell["outputs"]) == may_raise
