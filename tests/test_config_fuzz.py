"""Randomly mutated configs."""

import random
from pathlib import Path

import pytest

from evodevo import yaml_text
from evodevo.config_file import load
from evodevo.errors import UsageError
from evodevo.run.setup import job_of
from tests.mutations import mutated

ROOT = Path(__file__).resolve().parents[1]
GOOD = [
    yaml_text.load((ROOT / name).read_text(encoding="utf-8"))
    for name in (
        *("configs/quickstart.yaml", "configs/resnet20.yaml", "examples/program.yaml"),
        *(
            "configs/small/characters.yaml",
            "configs/small/detector-evolve.yaml",
            "configs/small/detector.yaml",
        ),
    )
]
EACH = 100


@pytest.mark.parametrize("begin", range(0, 500, EACH))
def test_a_config_is_good_or_there_is_one_message(
    begin: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """scripts/bench/faults.py tries many more, and the time that each takes."""
    monkeypatch.chdir(ROOT)
    path = tmp_path / "config.yaml"
    for seed in range(begin, begin + EACH):
        chance = random.Random(seed)
        path.write_text(mutated(chance.choice(GOOD), chance), encoding="utf-8", errors="surrogatepass")
        try:
            config = load(path)
        except UsageError:
            continue
        config.strategy()
        job_of(config, tmp_path / "run")
    assert list(tmp_path.iterdir()) == [path]
