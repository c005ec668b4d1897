"""The checkup of a GPU machine: its parts are ended in time, and what they found is kept."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.clusters import until

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "gpu" / "checkup.py"


def load_script(path: Path) -> Any:
    name = f"checkup_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


script = load_script(SCRIPT)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def carry_out(results: Any, name: str, program: str, limit_s: float) -> bool:
    part = script.Part(name, (), limit_s)
    env = {**os.environ, script.TAG: f"test-{os.getpid()}"}
    done: bool = script.carry_out(part, ["sh", "-c", program], limit_s, results, env)
    return done


STUBBORN = """
trap '' TERM
sleep 600 &
near=$!
setsid sleep 600 &
printf '{"part": "%s", "pids": [%s, %s]}\\n{"half a li' $CHECKUP_PART $near $! >>"$CHECKUP_RESULTS"
wait
"""


def test_a_part_that_takes_too_long_is_ended_with_all_that_it_started_and_keeps_its_findings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = script.Results(tmp_path)

    class Begun(subprocess.Popen[bytes]):
        """A process whose time begins when it has written its findings."""

        def wait(self, timeout: float | None = None) -> int:
            until(lambda: results.lines.exists() and "half" in results.lines.read_text(), "findings")
            return super().wait(timeout)

    monkeypatch.setattr(script, "GRACE_S", 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", Begun)
        assert not carry_out(results, "first", STUBBORN, 0.1)
    assert carry_out(results, "second", "echo hello", 60.0)
    found, first, second = results.read()
    until(lambda: not any(map(alive, found["pids"])), "all processes of the part to end")
    assert (first["part"], first["status"]) == ("first", "out of time")
    assert (second["part"], second["status"]) == ("second", "done")


def test_a_part_that_fails_says_how(tmp_path: Path) -> None:
    results = script.Results(tmp_path)
    assert not carry_out(results, "only", "echo the device is gone; exit 3", 60.0)
    (end,) = results.read()
    assert (end["status"], end["exit"], end["said"]) == ("failed", 3, "the device is gone")
    assert "the device is gone" in results.tables.read_text()
    assert "=== only\nthe device is gone" in results.log.read_text()


def test_a_part_that_fails_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "HERE", tmp_path)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "bad.py").write_text("1 / 0")
    (tmp_path / "parts" / "good.py").write_text("import sys; assert sys.argv[1] == 'name'")
    parts = [script.Part("bad", ("bad.py",), 60), script.Part("good", ("good.py", "name"), 60)]
    results = script.Results(tmp_path / "out")
    assert script.check_up(parts, results, tmp_path, None, True) == 1
    assert [(one["part"], one["status"]) for one in results.read()] == [("bad", "failed"), ("good", "done")]


def test_on_cpu_parts_have_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = []
    monkeypatch.setattr(
        script, "carry_out", lambda part, command, limit_s, *_: limits.append((limit_s, command)) or True
    )
    monkeypatch.setattr(
        script.Results, "read", lambda self: [{"part": "one", "status": "done", "seconds": 1}]
    )
    for cpu in (True, False):
        results = script.Results(tmp_path / f"out-{cpu}")
        results.tables.touch()
        (tmp_path / f"{cpu}").mkdir()
        script.check_up([script.Part("one", ("one.py",), 40)], results, tmp_path / f"{cpu}", None, cpu)
    assert [limit_s for limit_s, _ in limits] == [400, 40]
    assert [command[command.index("--limit-s") + 1] for _, command in limits] == ["400", "40"]


def test_a_part_for_which_no_time_is_left_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "TOTAL_S", 0.0)
    results = script.Results(tmp_path / "out")
    assert script.check_up([script.Part("late", ("late.py",), 60)], results, tmp_path, None, True) == 1
    assert [one["status"] for one in results.read()] == ["no time left"]


def test_many_findings_are_a_table_and_one_is_a_list() -> None:
    table = script.as_tables(
        [
            {"part": "machine", "gpu": "A | B", "driver": None},
            {"part": "machine", "status": "done", "seconds": 1.0},
            {"part": "epochs", "batch": 32, "epoch_s": 1.5},
            {"part": "epochs", "batch": 128, "error": "out of\nmemory"},
        ]
    )
    assert table.split("\n") == [
        "## machine: done, 1.0 s", "", "- gpu: A \\| B", "- driver: ", "",
        "## epochs: at work", "", "| batch | epoch_s | error |", "| --- | --- | --- |", "| 32 | 1.5 |  |",
        "| 128 |  | out of memory |", "",
    ]  # fmt: skip


def test_a_name_chooses_a_part_or_all_that_begin_with_it() -> None:
    names = [part.name for part in script.chosen("twice,epochs")]
    assert names == [
        *script.ALWAYS, "epochs-nmt", "epochs-detector", "twice"
    ]  # fmt: skip
    assert script.chosen(None) == list(script.PARTS)


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["--parts", "epoch"], "--parts: unknown part 'epoch'; available: machine, install"),
        ([], "does not exist: make it with scripts/gpu/pack.sh, or give --data DIR"),
        (["--data", "."], "results.jsonl exists: give another --out"),
    ],
)
def test_bad_usage_is_one_message(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "results.jsonl").write_text(json.dumps({"part": "machine"}))
    monkeypatch.setattr(script, "PACKED", tmp_path / "packed")
    with pytest.raises(SystemExit) as ended:
        script.main(["--out", str(tmp_path), *arguments])
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_samples_of_the_gpu_are_summed_up_and_other_lines_are_left_out() -> None:
    watch = load_script(SCRIPT.parent / "parts" / "busy.py").Watch()
    assert watch.facts() == {}
    for line in ("90, 1000\n", "[N/A], [N/A]\n", "100, 3000\n", "error\n"):
        watch.take(line)
    assert watch.facts() == {"gpu_busy_%": 95.0, "gpu_MiB": 3000}
