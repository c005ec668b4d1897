"""The command line's manners: what needs no cluster."""

import errno
import os
from pathlib import Path

import pytest
import yaml

import evodevo
from evodevo.cli import main
from tests.golden import assert_golden
from tests.run.fakes import finished

QUICKSTART = Path(__file__).parents[1] / "configs" / "quickstart.yaml"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command."""
    try:
        main(list(arguments))
        status = 0
    except SystemExit as ended:
        status = int(ended.code or 0)
    told = capsys.readouterr()
    return status, told.out, told.err


def edited(tmp_path: Path, **changes: object) -> str:
    """The quickstart's config with other values; `__` stands for the dots."""
    config = yaml.safe_load(QUICKSTART.read_text())
    for key, value in changes.items():
        *sections, last = key.split("__")
        inner = config
        for section in sections:
            inner = inner[section]
        inner[last] = value
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


@pytest.mark.parametrize(
    ("name", "changes", "key"),
    [
        ("unknown-key", {"search__populatoin": 8}, "search.populatoin"),
        ("low-above-high", {"search__loci__learning_rate__low": 2.0}, "search.loci.learning_rate"),
        ("initial-outside", {"search__loci__learning_rate__initial": 3.0}, "search.loci.learning_rate"),
        ("population-too-small", {"search__population": 1}, "search.population"),
        ("name-with-slash", {"run__name": "a/b"}, "run.name"),
        ("name-of-dots", {"run__name": ".."}, "run.name"),
    ],
)
@pytest.mark.parametrize("command", ["launch", "check"])
def test_a_bad_config_gives_one_message_and_status_2_and_nothing_is_written(
    command: str,
    name: str,
    changes: dict[str, object],
    key: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, command, edited(tmp_path, **changes))
    assert status == 2
    assert err.startswith(f"evodevo: {tmp_path / 'config.yaml'}: {key}: ")
    assert_golden(f"command-line/bad-config/{name}", err, tmp_path)
    assert out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_file_that_is_not_there_or_empty_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty.yaml"
    empty.touch()
    status, _, err = run(capsys, "launch", str(tmp_path / "no.yaml"))
    assert status == 2
    assert_golden("command-line/no-file", err, tmp_path, cwd=Path.cwd())
    status, _, err = run(capsys, "launch", str(empty))
    assert status == 2
    assert_golden("command-line/empty-file", err, tmp_path)


def test_detach_without_a_cluster_that_outlives_the_command_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for command in ("launch", "resume"):
        status, _, err = run(capsys, command, str(QUICKSTART), "--detach")
        assert status == 2
        assert_golden("command-line/detach-without-cluster", err)


@pytest.mark.parametrize("name", ["exists", "unwritable"])
def test_a_run_that_cannot_be_created_is_refused_before_a_cluster_is_started(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "quickstart").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setattr("evodevo.cli_common.local", None)
    runs_dir = tmp_path if name == "exists" else tmp_path / "file" / "runs"
    status, out, err = run(capsys, "launch", str(QUICKSTART), "--runs-dir", str(runs_dir))
    assert (status, out) == (2, "")
    assert_golden(f"command-line/launch/{name}", err, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "quickstart"]


def test_a_run_that_is_done_says_how_it_is_extended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finished(tmp_path / "run")
    status, out, _ = run(capsys, "resume", "run", "--runs-dir", str(tmp_path))
    assert status == 0
    assert_golden("command-line/done-already", out)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("workers", ["--workers", "2"]),
        ("scheduler", ["--scheduler", "tcp://127.0.0.1:1"]),
        ("no-sbatch", []),
    ],
)
def test_slurm_where_it_cannot_be_is_refused(
    name: str,
    options: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", "")
    status, _, err = run(capsys, "launch", str(QUICKSTART), "--slurm", *options)
    assert status == 2
    assert_golden(f"command-line/slurm/{name}", err)


@pytest.mark.parametrize(
    ("name", "conf", "scontrol"),
    [
        ("no-conf", "nowhere.conf", "exit 0"),
        ("down", "", "echo ctl at n is DOWN; echo '****'; exit 1"),
        ("error", "", "echo a >&2; echo fatal: no source >&2; exit 1"),
        ("silent", "", "exec /bin/sleep 60"),
    ],
)
def test_a_slurm_that_does_not_answer_is_one_message_that_says_what_to_do(
    name: str,
    conf: str,
    scontrol: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for program in ("sbatch", "squeue", "scontrol"):
        (tmp_path / program).write_text(f"#!/bin/sh\n{scontrol}\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SLURM_CONF", conf)
    if "sleep" in scontrol:
        monkeypatch.setattr("evodevo.service.slurm.PING_TIMEOUT_S", 0.1)
    status, out, err = run(capsys, "launch", str(QUICKSTART), "--slurm", "--runs-dir", str(tmp_path / "runs"))
    assert (status, out) == (2, "")
    assert err.startswith("evodevo: cluster.slurm: ")
    assert_golden(f"command-line/slurm-silent/{name}", err, tmp_path)
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_scheduler_that_is_not_there_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evodevo.service.cluster.CONNECT_TIMEOUT_S", 0.2)
    status, _, err = run(capsys, "status", "--scheduler", "tcp://127.0.0.1:1")
    assert status == 2
    assert_golden("command-line/no-scheduler", err)


def test_a_scheduler_file_or_address_that_is_nonsense_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = run(capsys, "status", "--scheduler-file", str(tmp_path / "no.json"))
    assert status == 2
    assert_golden("command-line/no-scheduler-file", err, tmp_path)
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    status, _, err = run(capsys, "status", "--scheduler-file", str(broken))
    assert status == 2
    assert "broken.json" in err


@pytest.mark.parametrize(
    "command", ["status", "watch", "cancel", "resume", "report", "replay", "prune", "export", "train-best"]
)
def test_a_run_that_is_not_there_is_named(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = run(capsys, command, "nosuchrun", "--runs-dir", str(tmp_path))
    assert status == 2
    assert_golden("command-line/no-run", err, tmp_path)


def test_runs_in_no_directory_are_said_to_be_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "status", "--runs-dir", str(tmp_path))
    assert (status, err) == (0, "")
    assert_golden("command-line/no-runs", out, tmp_path)
    status, out, _ = run(capsys, "status", "--runs-dir", str(tmp_path / "x"))
    assert status == 0
    assert_golden("command-line/no-directory-of-runs", "".join(out.split("\n")), tmp_path)


def test_check_counts_what_is_trained(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = run(capsys, "check", str(QUICKSTART))[1]
    assert "= 144 epochs, all members together" in told
    assert "tri_parent was tried with 24 simulated members" in told
    steady = (
        "--set",
        "search={strategy: mutate_best, generations: 5, loci: {learning_rate: "
        "{type: float, low: 0.001, high: 1.0, initial: 0.1}}}",
    )
    assert (
        "mutate_best, 5 members, each trained from scratch"
        in run(capsys, "check", str(QUICKSTART), *steady)[1]
    )


def test_what_cannot_be_written_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished(tmp_path / "run")
    (tmp_path / "run" / "report").write_text("in the way")
    status, out, err = run(capsys, "report", "run", "--runs-dir", str(tmp_path))
    assert (status, out) == (2, "")
    assert err == f"evodevo: {tmp_path / 'run' / 'report'}: {os.strerror(errno.EEXIST)}\n"


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"evodevo, version {evodevo.__version__}\n", "")


def test_an_unknown_option_or_command_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "launch", str(QUICKSTART), "--generations", "3")[0] == 2
    assert run(capsys, "lunch")[0] == 2


def test_set_changes_the_config_that_check_speaks_of(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "check", str(QUICKSTART), "--set", "search.population=5")
    assert status == 0, err
    assert "5 members x 12 generations" in out
    assert "61,706 parameters" in out


def test_check_tries_the_arms_of_a_comparison_too(capsys: pytest.CaptureFixture[str]) -> None:
    arm = "compare.arms.bold={strategy: tri_parent, options: {sigmas: 1.0}}"
    with pytest.raises(SystemExit) as ended:
        main(["check", str(QUICKSTART), "--set", arm])
    assert ended.value.code == 2
    assert_golden("command-line/arm-with-unknown-option", capsys.readouterr().err, folder=QUICKSTART.parent)


@pytest.mark.parametrize(
    ("command", "flags", "warned"),
    [
        ("true", {}, ["nesterov", "kept"]),
        ("true {kept}", {"nesterov": "bare"}, []),
        ("true", {"nesterov": "value"}, ["kept"]),
    ],
)
def test_check_warns_of_a_boolean_of_a_command_of_which_nobody_said_how_it_is_passed(
    command: str,
    flags: dict[str, str],
    warned: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    loci = {
        "nesterov": {"type": "bool", "initial": True},
        "kept": {"type": "fixed", "value": False},
        "rate": {"type": "float", "low": 0.1, "high": 1.0, "initial": 0.5},
    }
    path = edited(
        tmp_path,
        workload={"command": command, "flags": flags},
        objective={"metric": "fom", "mode": "min"},
        search__loci=loci,
    )
    status, out, err = run(capsys, "check", path)
    assert status == 0, err
    told = " ".join(out.split())
    for name in ("nesterov", "kept"):
        expected = (
            f"warning: {name} is a boolean, passed as `--{name} false`, which argparse reads as True with"
        )
        assert (expected in told) == (name in warned)
        assert (f"workload.flags: {{{name}: bare}} for store_true, negatable for" in told) == (name in warned)


def test_check_warns_of_a_locus_that_the_workload_does_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = edited(
        tmp_path, search__loci__weight_decya={"type": "float", "low": 0.0, "high": 1.0, "initial": 0.0}
    )
    status, out, _ = run(capsys, "check", path)
    assert status == 0
    assert "did not read the hyperparameter 'weight_decya'" in out
