"""The file that a config comes from, its YAML, and what `--set` puts over it."""

import re
from pathlib import Path
from typing import Any

import pytest

from evodevo import yaml_text
from evodevo.config_file import load, parse_override
from tests.configs import SMALL, complaint, load_text
from tests.evolution.spaces import identical
from tests.golden import assert_golden, raises_golden


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("empty", ""),
        ("only-a-comment", "# only a comment\n"),
        ("list", "- run\n- search\n"),
        ("text", "quickstart"),
        ("open-bracket", "run: {name: [small"),
        ("tab", "run:\n\tname: small"),
        ("two-documents", "run: {name: a}\n---\nrun: {name: b}"),
        ("key-of-a-list", "? [a, b]\n: 1"),
        ("undefined-alias", "run: *nobody"),
        ("tag", "run: !mine {name: a}"),
        ("bytes", bytes(range(256))),
        ("nul", b"run: \0"),
        ("utf-16", "run: {name: a}".encode("utf-16")),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_a_file_without_one_yaml_mapping_is_refused(name: str, text: str | bytes, tmp_path: Path) -> None:
    said = complaint(lambda: load_text(tmp_path, text))
    assert said.startswith(f"{tmp_path / 'config.yaml'}: ")
    assert "\n" not in said
    assert_golden(f"config/file/{name}", said, tmp_path)


def test_a_missing_file_is_refused_with_the_directory_it_was_looked_for_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = complaint(lambda: load("none.yaml"))
    assert said.startswith("none.yaml: ")
    assert_golden("config/no-file", said, tmp_path)


def test_a_directory_instead_of_a_file_is_refused(tmp_path: Path) -> None:
    assert_golden("config/directory", complaint(lambda: load(tmp_path)), tmp_path)


@pytest.mark.parametrize(
    "text, key, line",
    [
        (SMALL + "run: {name: other}\n", "run", 18),
        (SMALL.replace("seed: 7", "seed: 7, seed: 8"), "seed", 1),
        (SMALL.replace("initial: 3", "initial: 3, low: 2"), "low", 15),
        (SMALL.replace("batch_size: 50", "batch_size: 50, batch_size: 51"), "batch_size", 4),
    ],
    ids=lambda value: str(value)[-20:],
)
def test_a_key_that_comes_twice_is_refused_with_its_line(
    text: str, key: str, line: int, tmp_path: Path
) -> None:
    said = complaint(lambda: load_text(tmp_path, text))
    assert f"line {line}," in said
    said = re.sub(r"\d+", "<n>", said.replace(str(tmp_path), "<tmp>"))
    assert_golden("config/key-twice", said, key=repr(key))


def test_what_is_wrong_inside_is_reported_under_the_file_s_name(tmp_path: Path) -> None:
    said = complaint(lambda: load_text(tmp_path, SMALL.replace("population: 4", "population: 1")))
    assert said.startswith(f"{tmp_path / 'config.yaml'}: search.population: ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("call", "!!python/object/apply:os.mkdir [{folder}]"),
        ("name", "!!python/name:os.mkdir ''"),
        ("tuple", "!!python/tuple [1, 2]"),
    ],
)
def test_yaml_that_names_things_of_python_is_refused_and_runs_nothing(
    name: str, value: str, tmp_path: Path
) -> None:
    folder = tmp_path / "made by code"
    bad = value.format(folder=f"'{folder}'")
    text = SMALL.replace("options: {batch_size: 50}", f"options:\n    batch_size: {bad}")
    assert_golden(f"config/python/{name}", complaint(lambda: load_text(tmp_path, text)), tmp_path)
    override = complaint(lambda: parse_override(f"workload.options.a={bad}"))
    assert_golden(f"config/python-override/{name}", override, tmp_path)
    assert not folder.exists()


def test_anchors_and_merged_keys_are_understood(tmp_path: Path) -> None:
    extra = "    decay: {<<: *rate, when: {optimizer: sgd}}\n"
    config = load_text(tmp_path, SMALL.replace("rate: {", "rate: &rate {") + extra)
    rate = config.search.loci["rate"]
    assert config.search.loci["decay"] == rate.model_copy(update={"when": {"optimizer": "sgd"}})


def test_a_merged_key_may_be_overridden(tmp_path: Path) -> None:
    extra = "    decay: {<<: *rate, initial: 0.5}\n"
    config = load_text(tmp_path, SMALL.replace("rate: {", "rate: &rate {") + extra)
    assert config.space().given()["decay"] == 0.5


def test_a_byte_order_mark_and_the_line_ends_of_windows_change_nothing(tmp_path: Path) -> None:
    assert identical(load_text(tmp_path, "\ufeff" + SMALL.replace("\n", "\r\n")), load_text(tmp_path, SMALL))


@pytest.mark.parametrize(
    "text, value",
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        ("-2e+3", -2e3),
        ("+7e0", 7.0),
        ("1.e3", 1e3),
        ("1.5e-2", 0.015),
        ("10", 10),
        ("0.5", 0.5),
        ("1e", "1e"),
        ("e5", "e5"),
        ("'1e-4'", "1e-4"),
        ("1.2.3", "1.2.3"),
        pytest.param(".5e3", 500.0),
    ],
)
def test_numbers_are_those_of_yaml_1_2(text: str, value: Any, tmp_path: Path) -> None:
    config = load_text(tmp_path, SMALL.replace("batch_size: 50", f"a: {text}"))
    assert identical(config.workload.options, {"a": value})
    assert identical(parse_override(f"a={text}"), ("a", value))


@pytest.mark.parametrize("name", ["4e1f09", "1e5_test", "2e3-small"])
def test_a_name_that_begins_like_a_number_is_text(name: str, tmp_path: Path) -> None:
    assert load_text(tmp_path, SMALL.replace("name: small", f"name: {name}")).run.name == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("no-date", "2020-13-45"),
        ("no-float", "!!float x"),
        ("no-hex", "0x_"),
        ("brackets", "[" * 1500),
        ("digits", "9" * 5000),
    ],
    ids=lambda value: value[:10],
)
def test_a_scalar_that_yaml_cannot_make_is_refused(name: str, value: str, tmp_path: Path) -> None:
    assert_golden(f"config/scalar/{name}", complaint(lambda: load_text(tmp_path, f"run: {value}")), tmp_path)


@pytest.mark.parametrize(
    "text, key, value",
    [
        ("search.population=8", "search.population", 8),
        ("run.name=b", "run.name", "b"),
        ("run.name='8'", "run.name", "8"),
        ("search.options={initial: random}", "search.options", {"initial": "random"}),
        ("workload.command=[python, a=b.py]", "workload.command", ["python", "a=b.py"]),
        ("data.root=", "data.root", None),
        ("data.root=null", "data.root", None),
        ("a==b", "a", "=b"),
    ],
)
def test_an_override_is_a_key_and_a_yaml_value(text: str, key: str, value: Any) -> None:
    assert identical(parse_override(text), (key, value))


@pytest.mark.parametrize("text", ["search.population", "", "=8", "="])
def test_an_override_without_key_and_value_is_refused(text: str) -> None:
    said = complaint(lambda: parse_override(text))
    assert said.startswith(f"--set {text!r}: ")
    assert_golden("config/override-not-a-pair", said, text=repr(text))


@pytest.mark.parametrize(
    ("name", "text"),
    [("bracket", "a=[1"), ("two-colons", "a=b: c: d"), ("key-twice", "a={b: 1, b: 2}")],
)
def test_an_override_whose_value_is_not_yaml_is_refused(name: str, text: str) -> None:
    said = complaint(lambda: parse_override(text))
    assert said.startswith(f"--set {text!r}: ")
    assert_golden(f"config/override-not-yaml/{name}", said)


def test_overrides_set_old_and_new_keys_at_any_depth_and_the_last_one_counts(tmp_path: Path) -> None:
    overrides = {
        "search.population": 8,
        "search.loci.rate.high": 0.5,
        "search.loci.extra": {"type": "bool", "initial": True},
        "search.loci.extra.initial": False,
        "limits.max_attempts": 1,
    }
    config = load_text(tmp_path, SMALL, overrides)
    assert (config.search.population, config.limits.max_attempts) == (8, 1)
    assert config.search.loci["rate"].model_dump(include={"low", "high"}) == {"low": 1e-4, "high": 0.5}
    assert config.space().given()["extra"] is False


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("search-key", "search.popluation"),
        ("section", "serch.population"),
        ("top-level-key", "population"),
        ("locus-key", "search.loci.rate.hihg"),
        ("option", "search.options.sigm"),
    ],
)
def test_an_override_of_an_unknown_key_is_refused(name: str, key: str, tmp_path: Path) -> None:
    said = complaint(lambda: load_text(tmp_path, SMALL, {key: 8}))
    assert_golden(f"config/override-unknown/{name}", said, tmp_path)


@pytest.mark.parametrize(("name", "key"), [("name", "run.name.x"), ("seed", "run.seed.a.b")])
def test_an_override_into_what_has_no_keys_is_refused(name: str, key: str, tmp_path: Path) -> None:
    said = complaint(lambda: load_text(tmp_path, SMALL, {key: 8}))
    assert said.startswith(f"--set {key}: ")
    assert_golden(f"config/override-inside/{name}", said)


def test_text_in_any_script_is_written_as_it_is_and_reads_back() -> None:
    for text in ("学习率", "معدل", "🔥 é", "\ud800", "\x00", "\u2028", "a\x85b", "1:30", "a\nb", "\ufeff"):
        data = {text: [text]}
        assert yaml_text.load(yaml_text.dump(data).encode(errors="strict").decode()) == data
    assert yaml_text.dump({"学习率": "🔥"}) == "学习率: 🔥\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("int", "a: !!int ''"),
        ("float", "a: !!float x"),
        ("bool", "a: !!bool maybe"),
        ("timestamp", "a: !!timestamp ''"),
        ("date", "a: 2020-99-99"),
        ("set", "!!set {a}: 1"),
        ("huge", "a: 0x" + "f" * 5000),
        ("nested", "a: " + "[" * 3000),
    ],
    ids=lambda text: text[:20],
)
def test_what_a_tag_does_not_fit_and_what_is_beyond_all_measure_is_refused(name: str, text: str) -> None:
    with raises_golden(f"config/yaml/{name}", ValueError):
        yaml_text.load(text)


def bomb(line: str) -> str:
    """Ten lines, each of which stands for nine times the one before."""
    lines = ["a0: &a0 {x: 1}"]
    lines += [line.format(at, ", ".join([f"*a{at - 1}"] * 9)) for at in range(1, 12)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "line", ["a{0}: &a{0} [{1}]", "a{0}: &a{0} {{<<: [{1}]}}"], ids=["aliases", "merges"]
)
def test_a_few_lines_that_stand_for_billions_of_values_are_refused_at_once(line: str) -> None:
    with raises_golden("config/yaml-bomb", ValueError):
        yaml_text.load(bomb(line))


def test_aliases_and_merges_within_measure_are_read() -> None:
    text = "a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [*a, *a]"
    assert yaml_text.load(text) == {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": [{"x": 1}, {"x": 1}]}


def test_a_file_that_is_too_large_for_a_config_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_bytes(b"a: 1\n" * 1_000_000)
    said = complaint(lambda: yaml_text.read(path, "an example"))
    assert said.startswith(f"{path}: ")
    assert_golden("config/file-too-large", said, tmp_path)


@pytest.mark.parametrize("key", ["data.root", "checkpoints.url", "search.hyp"])
def test_a_path_that_cannot_exist_is_refused(key: str, tmp_path: Path) -> None:
    said = complaint(lambda: load_text(tmp_path, SMALL, {key: "~nobody-of-that-name/x"}))
    assert said.startswith(f"{key}: ")
    assert_golden("config/no-such-user", said, config_key=key)
    said = complaint(lambda: load_text(tmp_path, SMALL, {key: "a\0b"}))
    assert_golden("config/path-with-nul", said, tmp_path, config_key=key)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("a: 1 # one\nb: 2\n", "a: 5 # one\nb: 6\n"),
        ("a: 1  # one", "a: 5  # one\nb: 6\n"),
        ("# head\n\nc: 9 # gone\nb: 2 # two\na: 1", "# head\n\nb: 6 # two\na: 5\n"),
        ("{a: 1, b: 2} # both\n", "{a: 5, b: 6} # both\n"),
        ("{a: 1} # one\n", "a: 5\nb: 6\n"),
        ("a: &x 1\nb: *x\n", "a: 5\nb: 6\n"),
        ("a: 1\nb: 2\na: 3\n", "a: 5\nb: 6\n"),
        ("a: [\n", "a: 5\nb: 6\n"),
        ("- 1\n", "a: 5\nb: 6\n"),
        ("", "a: 5\nb: 6\n"),
    ],
)
def test_values_take_the_place_of_others_in_a_text_whose_comments_stay(text: str, made: str) -> None:
    assert yaml_text.with_values(text, {"a": 5, "b": 6}) == made
