"""`evodevo prune` deletes the checkpoints that nothing needs, and only while the run has no controller."""

from pathlib import Path

import pytest

from evodevo.cli import main
from evodevo.run.journal import Journal
from evodevo.run.setup import JOURNAL
from tests.run.fakes import finished


def test_of_a_run_that_is_done_the_best_checkpoint_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = finished(tmp_path / "run")
    params = tmp_path / "run" / "params"
    (params / "g000s000-a1-0123456789ab.safetensors").write_bytes(b"of an attempt that was lost")
    main(["prune", "run", "--runs-dir", str(tmp_path)])
    assert history.best is not None
    assert history.best.outcome is not None
    assert history.best.outcome.checkpoint is not None
    assert [path.name for path in params.iterdir()] == [history.best.outcome.checkpoint.name]
    assert "kept 1" in capsys.readouterr().out


def test_nothing_is_deleted_of_a_run_in_progress(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished(tmp_path / "run")
    before = sorted((tmp_path / "run" / "params").iterdir())
    with Journal(tmp_path / "run" / JOURNAL), pytest.raises(SystemExit) as ended:
        main(["prune", "run", "--runs-dir", str(tmp_path)])
    assert ended.value.code == 2
    assert "is being carried out by" in capsys.readouterr().err
    assert sorted((tmp_path / "run" / "params").iterdir()) == before
