"""The Python interface as a notebook uses it: one cluster for all cells, and what outlives it."""

import http.server
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import evodevo
from tests.integration.clusters import until, write_config

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

NETS = """
    import torch
    from tiny import Tiny
    from mine_{number}_settings import SCALE

    class Net(Tiny):
        def evaluate(self, *arguments, **named):
            return {{**super().evaluate(*arguments, **named), "validation_version": {version} * SCALE}}
"""
STRATEGY = """
    from evodevo import Birth, Strategy
    from evodevo.evolution.strategies.tri_parent import TriParent

    class Mine(TriParent):
        def birth(self, generation, slot, parents, own):
            {line}
"""
RIGHT = "return super().birth(generation, slot, parents, own)"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with runs in checkpoints/, which is the current one, as a notebook's is."""
    found = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(found)
        patch.syspath_prepend(str(Path(__file__).parent))
        patch.syspath_prepend(str(found))
        yield found


@pytest.fixture(scope="module")
def client(place: Path) -> Iterator[evodevo.Client]:
    """What the first cell has: no `with`."""
    found = evodevo.local(workers=np.int64(2))
    yield found
    found.close()


def config_of(place: Path, name: str, **changes: Any) -> dict[str, Any]:
    file = write_config(place, name, **{"workload__use": "tiny:Tiny", "search__generations": 2, **changes})
    data: dict[str, Any] = yaml.safe_load(file.read_text())
    return data


@pytest.fixture(scope="module")
def done(client: evodevo.Client, place: Path) -> evodevo.Run:
    run = client.submit(config_of(place, "first"))
    assert run.wait(progress=False).state == "done"
    return run


def test_a_run_is_submitted_in_the_cell_after_the_clients(done: evodevo.Run) -> None:
    assert done.best is not None


def test_a_run_that_is_done_has_a_table_plots_and_a_readable_form(done: evodevo.Run) -> None:
    rows = done.history()
    assert type(rows) is type(evodevo.open_run("first").history())
    assert isinstance(rows, list) and len(rows) == 10 and "<table>" in rows._repr_html_()
    assert list(rows.frame().columns) == list(rows[0])
    assert repr(done).startswith("<Run first: done, generation 2/2, best validation_loss ")
    assert "done" in done._repr_html_() and "2/2" in done._repr_html_()
    assert repr(done.status()).startswith("<Status of first: done, generation 2/2, best validation_loss ")
    assert repr(done.best).startswith("<Best g") and "learning_rate=" in repr(done.best)
    assert done.best is not None and "learning_rate" in done.best._repr_html_()
    plots = done.plot()
    assert list(plots) == ["fom", "schedule"]
    assert plots._repr_html_().count("data:image/png;base64,") == 2


def test_a_name_finds_the_run_in_checkpoints(done: evodevo.Run) -> None:
    assert evodevo.open_run("first").status().state == "done"
    assert evodevo.open_run("checkpoints/first").name == "first"
    with pytest.raises(evodevo.UsageError, match=r"no run 'frist' in .*there are: first"):
        evodevo.open_run("frist")


def test_numbers_of_numpys_paths_and_classes_are_what_yaml_would_have(
    client: evodevo.Client, place: Path
) -> None:
    import tiny

    config = config_of(place, "numpy")
    config["run"]["seed"] = np.int64(3)
    config["search"]["population"] = np.int32(3)
    config["search"]["loci"]["learning_rate"]["low"] = np.float64(0.01)
    config["search"]["loci"]["momentum"]["high"] = np.float32(0.5)
    config["workload"]["use"] = tiny.Tiny
    run = client.submit(config, {"search.generations": np.int64(1)})
    assert run.wait().generations == 1
    run.resume(np.int64(2))
    assert run.wait().generations == 2
    assert type(config["run"]["seed"]) is np.int64


def test_messages_speak_python(client: evodevo.Client, done: evodevo.Run, place: Path) -> None:
    with pytest.raises(evodevo.UsageError) as exists:
        client.submit(config_of(place, "first"))
    assert "client.run('first').resume()" in str(exists.value) and "--" not in str(exists.value)
    assert "--run-name" in exists.value.shell
    with pytest.raises(evodevo.UsageError) as over:
        done.resume()
    assert "run.resume(generations=N)" in str(over.value) and "--" not in str(over.value)
    with pytest.raises(evodevo.UsageError) as again:
        done.resume(2)
    assert "generations=3 or more" in str(again.value) and "--" not in str(again.value)


def test_a_class_of_a_notebooks_cell_is_refused_with_what_to_do(
    client: evodevo.Client, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tiny

    cell = type("Net", (tiny.Tiny,), {"__module__": "__main__"})
    monkeypatch.setattr(sys.modules["__main__"], "Net", cell, raising=False)
    for used in (cell, "__main__:Net"):
        with pytest.raises(evodevo.UsageError) as why:
            client.submit(config_of(place, "cell"), {"workload.use": used})
        assert "%%writefile mine.py" in str(why.value) and '"mine:Net"' in str(why.value)


def test_a_second_cluster_in_the_folder_agrees_on_a_runs_state_and_the_run_is_told_of_its_changes_once(
    client: evodevo.Client, place: Path
) -> None:
    hold = place / "hold"
    hold.touch()
    run = client.submit(config_of(place, "held", workload__options={"hold": str(hold)}))
    assert run.status().state in ("running", "waiting")
    with evodevo.local(workers=1) as other:
        assert other.run("held").status().state == "running"
        with pytest.raises(evodevo.UsageError, match="is being carried out by another controller"):
            other.run("held").cancel()
    hold.unlink()
    told = list(run.follow())
    assert told[-1].state == "done"
    same = [(one.generation, one.members_done, one.state, one.workers, one.message) for one in told]
    assert all(a != b for a, b in pairwise(same)) and len(told) <= 14


def test_a_cancelled_run_has_its_products_and_a_report(client: evodevo.Client, place: Path) -> None:
    hold = place / "hold-cancelled"
    hold.touch()
    run = client.submit(config_of(place, "cut", workload__options={"hold": str(hold), "hold_from": 1}))
    until(lambda: run.status().generation >= 1, "a generation")
    run.cancel()
    assert run.wait().state == "cancelled"
    found = {path.name for path in run.directory.iterdir()}
    assert {"best.safetensors", "schedule.yaml", "history.csv", "summary.json", "report"} <= found
    (run.directory / "schedule.yaml").unlink()
    assert run.directory / "schedule.yaml" in run.report()
    assert (run.directory / "schedule.yaml").exists()


def module_of(place: Path, name: str, text: str) -> None:
    (place / f"{name}.py").write_text(textwrap.dedent(text))


def test_after_an_edit_the_next_run_has_the_new_code_in_workers_and_scheduler(
    client: evodevo.Client, place: Path
) -> None:
    module_of(place, "mine_1_settings", "SCALE = 1\n")
    module_of(place, "mine_1", NETS.format(number=1, version=1))
    with_old = "if generation == 2:\n                raise ValueError('the old one')\n            " + RIGHT
    module_of(place, "search_1", STRATEGY.format(line=with_old))
    config = config_of(
        place,
        "edited",
        workload__use="mine_1:Net",
        search__strategy="search_1:Mine",
        search__options={},
        search__generations=3,
    )
    with pytest.raises(evodevo.RunFailed, match=r"the old one \(in birth, .*search_1\.py:8\)"):
        client.submit(config).wait()
    module_of(place, "search_1", STRATEGY.format(line=RIGHT))
    second = client.submit(config, {"run.name": "edited-2"})
    assert second.wait().state == "done"
    assert {row["metric.validation_version"] for row in second.history()} == {1}
    module_of(place, "mine_1", NETS.format(number=1, version=2))
    third = client.submit(config, {"run.name": "edited-3"})
    assert third.wait().state == "done"
    assert {row["metric.validation_version"] for row in third.history()} == {2}
    module_of(place, "mine_1_settings", "SCALE = 5\n")
    fourth = client.submit(config, {"run.name": "edited-4"})
    assert fourth.wait().state == "done"
    assert {row["metric.validation_version"] for row in fourth.history()} == {10}
    run = client.run("edited")
    run.resume()  # the strategy is mended
    assert run.wait().state == "done"


def test_progress_is_shown_when_asked_for(
    client: evodevo.Client, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client.submit(config_of(place, "quiet")).wait()
    assert capsys.readouterr().out == ""
    client.submit(config_of(place, "told")).wait(progress=True)
    assert "told: done, generation 2/2" in capsys.readouterr().out


def test_after_the_client_is_closed_its_runs_are_read_from_files_and_resumed(place: Path) -> None:
    hold = place / "hold-2"
    hold.touch()
    with evodevo.local(workers=2) as client:
        run = client.submit(config_of(place, "outlived"))
        run.wait()
        held = client.submit(config_of(place, "stopped", workload__options={"hold": str(hold)}))
    assert client.closed and repr(client).startswith("<Client, closed; runs in ")
    assert run.status().state == "done" and run.best is not None and len(run.history()) == 10
    assert run.report()
    assert held.status().state == "interrupted"
    with pytest.raises(evodevo.RunFailed, match=r"'stopped' was interrupted: .*run\.resume\(\)"):
        held.wait()
    with pytest.raises(evodevo.UsageError, match="this client is closed"):
        client.submit(config_of(place, "late"))
    hold.unlink()
    began = time.monotonic()
    again = evodevo.open_run("stopped")  # as after a restart of the kernel
    again.resume()
    assert again.wait().state == "done", time.monotonic() - began
    with pytest.raises(evodevo.UsageError, match=r"run\.resume\(generations=N\)"):
        evodevo.open_run("stopped").resume()
    with pytest.raises(evodevo.UsageError, match="is not running: it is done"):
        evodevo.open_run("stopped").cancel()


UNCLOSED = """
import evodevo, sys, yaml
from torch.utils.data import DataLoader

if __name__ == "__main__":
    client = evodevo.local(workers=2)
    run = client.submit(yaml.safe_load(open(sys.argv[1])))
    for status in run.follow():
        if status.generation >= 1:
            break
    print(len(list(DataLoader([1, 2], num_workers=1))), client.closed, run)
"""


def test_a_process_that_ends_without_close_ends_its_cluster_in_order(place: Path) -> None:
    """Nor do processes that are forked from it, as those of a `DataLoader` are, end the cluster."""
    config_of(place, "unclosed", search__generations=500)
    (place / "unclosed.py").write_text(UNCLOSED)
    told = subprocess.run(
        [sys.executable, "unclosed.py", "unclosed.yaml"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith("2 False <Run unclosed: running, generation ")
    status = evodevo.open_run("unclosed").status()
    assert (status.state, status.lost_attempts) == ("interrupted", 0)


def test_a_wrong_address_is_refused_at_once() -> None:
    with pytest.raises(evodevo.UsageError, match=r"no scheduler answered at tcp://127\.0\.0\.1:9"):
        evodevo.connect("tcp://127.0.0.1:9")
    with pytest.raises(evodevo.UsageError, match=r"needs the address of a scheduler.*evodevo\.local\(\)"):
        evodevo.connect()


def test_what_is_not_a_dask_scheduler_is_told_from_one_that_does_not_answer() -> None:
    class Silent(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(evodevo.UsageError, match=r"is not a Dask scheduler \(perhaps"):
                evodevo.connect(f"tcp://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()


def test_a_resumed_run_is_running_at_once_and_a_damaged_one_hides_no_other(
    client: evodevo.Client, place: Path
) -> None:
    config = config_of(place, "long", search__generations=500)
    run = client.submit(config)
    assert run.wait(timeout_s=0.1).state in ("running", "waiting")
    assert run.cancel() is run
    assert run.status().state == "cancelled"
    assert run.resume().status().state in ("running", "waiting")
    run.cancel()
    with pytest.raises(evodevo.UsageError, match="generations is '3'; give a whole number"):
        run.resume(generations="3")  # type: ignore[arg-type]
    (client.runs_dir / "damaged").mkdir()
    (client.runs_dir / "damaged" / "journal.jsonl").write_text("nonsense\n" * 3)
    assert {"long", "damaged"} <= {one.name for one in client.runs()}
