"""scripts/bench/growth.py: mean and best of each generation, phase by phase, over seeds."""

import importlib
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from tests.run.fakes import finished
from tests.run.growing import growing

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(REPOSITORY / "scripts" / "bench")
    return importlib.import_module("growth")


def test_each_generation_has_the_mean_over_runs_of_its_mean_and_of_its_best(
    bench: Any, tmp_path: Path
) -> None:
    runs = [finished(tmp_path / f"one-s{seed}", growing(run__seed=seed)) for seed in (0, 1)]
    rows = bench.rows_of(runs)
    assert list(rows) == [(phase, generation) for phase in range(3) for generation in range(2)]
    for (phase, generation), (mean, best) in rows.items():
        foms = [[life.fom for life in run.generations[2 * phase + generation]] for run in runs]
        assert mean == pytest.approx([fmean(own) for own in foms])
        assert best == [min(own) for own in foms]
    head, _, *lines = bench.lines_of({"one": runs})
    assert head.startswith("one: 2 runs, ")
    assert len(lines) == 6
    assert lines[3].split()[:3] == ["1", "1", "2"]


def test_runs_are_put_together_by_their_names_without_the_seed(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one-s0", "one-s1", "other-s0"):
        finished(tmp_path / name, growing(run__seed=int(name[-1])))
    (tmp_path / "one-compare").mkdir()
    monkeypatch.setattr("sys.argv", ["growth.py", *map(str, sorted(tmp_path.iterdir()))])
    bench.main()
    heads = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert [head.partition(" runs")[0] for head in heads] == ["one: 2", "other: 1"]
    monkeypatch.setattr("sys.argv", ["growth.py", str(tmp_path / "one-compare")])
    with pytest.raises(SystemExit):
        bench.main()
    assert "none of these is a run with search.phases" in capsys.readouterr().err
