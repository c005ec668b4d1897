"""What the runs of a comparison are, and which of them can be compared already."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from evodevo.cli import main
from evodevo.cli_common import console
from evodevo.config import RunConfig, parse
from evodevo.config_file import load
from evodevo.errors import UsageError
from evodevo.report.comparison_page import conclusion
from evodevo.run.codec import encode
from evodevo.run.events import Ended
from evodevo.run.journal import Journal
from evodevo.run.origin import find_origin
from evodevo.run.setup import JOURNAL, create_run
from evodevo.service.comparison import DEFAULT_ARMS, Planned, all_done, directory_of, finished, plan, write
from tests.configs import complaint, small
from tests.golden import assert_golden, raises_golden
from tests.run.fakes import FakeCaller, carry_out

CONFIGS = Path(__file__).parents[1] / "configs"
LOCI = {
    "learning_rate": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log", "initial": 0.02},
    "momentum": {"type": "float", "low": 0.0, "high": 0.9, "initial": 0.5},
}


def config_of(**changes: Any) -> RunConfig:
    """The small config; `changes` are dotted keys with `__` for the dots."""
    defaults = {"search.loci": LOCI, "search.options": {"sigma": 7.0, "initial": "given"}}
    return parse(small({**defaults, **{key.replace("__", "."): value for key, value in changes.items()}}))


def searches(config: RunConfig, *arms: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Arm -> strategy and options."""
    return {one.arm: (one.config.search.strategy, one.config.search.options) for one in plan(config, arms, 1)}


def test_every_arm_has_every_seed_and_a_seed_is_finished_before_the_next_begins() -> None:
    planned = plan(config_of(), ["original", "tri_parent"], 3)
    assert [(one.arm, one.seed) for one in planned] == [
        (arm, seed) for seed in (7, 8, 9) for arm in ("original", "tri_parent")
    ]
    assert [one.config.run.seed for one in planned] == [one.seed for one in planned]
    assert [one.config.run.name for one in planned[:2]] == ["small-original-s7", "small-tri_parent-s7"]


def test_all_arms_have_the_same_budget_and_differ_in_nothing_but_the_search() -> None:
    config = config_of()
    for one in plan(config, [*DEFAULT_ARMS, "no_crossover", "tied_alpha", "single_parent"], 1):
        own, given = one.config.to_json(), config.to_json()
        for both in (own, given):
            both["run"] = both["search"]["strategy"] = both["search"]["options"] = None
        assert own == given


def test_only_the_configs_own_search_has_its_demes_and_an_arm_is_the_same_without() -> None:
    demes = {"grid": [2], "every": 1}
    config = config_of(search__demes=demes, search__population=6)
    arms = {
        one.arm: one.config.search for one in plan(config, [*DEFAULT_ARMS, "no_demes", "no_crossover"], 1)
    }
    with_demes = [arm for arm, search in arms.items() if search.demes]
    assert with_demes == ["tri_parent", "no_crossover"]
    assert arms["no_demes"] == arms["tri_parent"].model_copy(update={"demes": None})
    assert_golden("compare/no-demes", complaint(lambda: plan(config_of(), ["no_demes"], 1)))


def test_an_arm_whose_strategy_has_not_the_configs_pace_has_its_own() -> None:
    config = config_of(search__pace="pools", search__pool=3)
    searches = {one.arm: one.config.search for one in plan(config, ["tri_parent", "original"], 1)}
    assert (searches["tri_parent"].pace, searches["tri_parent"].pool) == ("pools", 3)
    assert (searches["original"].pace, searches["original"].pool) == (None, None)


def test_the_built_in_arms_are_what_they_are_called() -> None:
    own = {"sigma": 7.0, "initial": "given"}
    assert searches(config_of(), *DEFAULT_ARMS, "no_crossover", "tied_alpha", "single_parent") == {
        "original": ("scheduled", {"epochs": 2}),
        "cosine": ("scheduled", {"epochs": 2, "schedule": {"learning_rate": {"shape": "cosine"}}}),
        "random_search": ("random_search", {"initial": "random"}),
        "truncation_pbt": ("truncation_pbt", {"initial": "given"}),
        "tri_parent": ("tri_parent", own),
        "no_crossover": ("tri_parent", {**own, "crossover_rate": 0.0}),
        "tied_alpha": ("tri_parent", {**own, "alpha": "tied"}),
        "single_parent": ("tri_parent", {**own, "crossover_rate": 0.0, "alpha": "tied"}),
    }


ALL_PIECES = {
    "search__generations": None,
    "search__epochs": 48,
    "search__judge": "averaged",
    "search__average_half_life": 2.0,
    "search__recombine": {"last": 0.25},
    "search__soup": True,
    "search__options": {"sigma": 7.0, "initial_spread": 0.25},
}


def as_searched(config: RunConfig, *arms: str) -> dict[str, Any]:
    return {one.arm: one.config.search for one in plan(config, arms, 1)}


def test_arms_share_the_epochs_of_the_config_and_nothing_of_its_search() -> None:
    config = config_of(**ALL_PIECES)
    found = as_searched(config, *DEFAULT_ARMS, "cosine_averaged", "cosine_synchronised")
    own = found.pop("tri_parent")
    assert own == config.search
    assert own.generations == 21
    for search in found.values():
        assert (search.total_epochs, search.generations, search.soup) == (48, 48, False)
    assert {arm for arm, search in found.items() if search.judge == "averaged" or search.recombine} == {
        "cosine_averaged",
        "cosine_synchronised",
    }
    for arm in ("cosine_averaged", "cosine_synchronised"):
        assert (
            found[arm].options
            == found["cosine"].options
            == {
                "epochs": 48,
                "schedule": {"learning_rate": {"shape": "cosine"}},
            }
        )
    synchronised = found["cosine_synchronised"]
    assert (synchronised.initialisation, synchronised.recombining) == ("shared", 1)


@pytest.mark.parametrize("piece", ["averaging", "wide_founders", "recombination", "soup"])
def test_an_ablation_takes_one_piece_away_or_leaves_one(piece: str) -> None:
    def has(search: Any) -> set[str]:
        found = {
            "averaging": search.judge == "averaged",
            "wide_founders": search.options["initial_spread"] > 0.15,
            "recombination": search.recombine is not None,
            "soup": search.soup,
        }
        return {name for name, there in found.items() if there}

    searches = as_searched(config_of(**ALL_PIECES), "tri_parent", f"no_{piece}", f"only_{piece}")
    everything = {"averaging", "wide_founders", "recombination", "soup"}
    assert has(searches["tri_parent"]) == everything
    assert has(searches[f"no_{piece}"]) == everything - {piece}
    assert has(searches[f"only_{piece}"]) == {piece}
    for search in searches.values():
        assert search.epochs_per_generation == searches["tri_parent"].epochs_per_generation
        assert search.options["sigma"] == 7.0


def test_an_arm_of_the_config_may_have_other_keys_of_search() -> None:
    pieces = {"judge": "averaged", "soup": True, "epochs_per_generation": "auto"}
    arm = {"strategy": "truncation_pbt", "search": pieces}
    search = as_searched(config_of(search__generations=24, compare__arms={"bold": arm}), "bold")["bold"]
    assert (search.judge, search.soup, search.generations, search.total_epochs) == ("averaged", True, 9, 24)
    wrong = {"bold": {"strategy": "truncation_pbt", "search": {"judges": "raw"}}}
    message = complaint(lambda: plan(config_of(compare__arms=wrong), ["bold"], 1))
    assert "arm bold: search.judges: " in message
    assert_golden("compare/arm-with-unknown-search-key", message)


def test_an_arm_of_the_config_is_added_or_stands_in_a_built_in_ones_place() -> None:
    config = config_of(
        compare__arms={
            "cosine": {
                "strategy": "scheduled",
                "options": {"schedule": {"momentum": {"shape": "cosine", "start": 0.9}}},
            },
            "bold": {"strategy": "tri_parent", "options": {"mutation_rate": 1.0}},
        }
    )
    assert searches(config, "cosine", "bold", "original") == {
        "cosine": (
            "scheduled",
            {"epochs": 2, "schedule": {"momentum": {"shape": "cosine", "start": 0.9}}},
        ),
        "bold": ("tri_parent", {"mutation_rate": 1.0}),
        "original": ("scheduled", {"epochs": 2}),
    }


def test_the_subject_is_tri_parent_also_where_the_config_searches_in_another_way() -> None:
    config = config_of(search__strategy="truncation_pbt", search__options={"fraction": 0.5})
    assert searches(config, "tri_parent") == {"tri_parent": ("tri_parent", {})}


@pytest.mark.parametrize(
    ("name", "arms", "changes"),
    [
        ("near-name", ["tri_parnt"], {}),
        ("piece-alone", ["soup"], {}),
        ("twice", ["cosine", "cosine"], {}),
        ("no-learning-rate", ["cosine"], {"search__loci": {"rate": LOCI["momentum"]}}),
        (
            "unknown-option",
            ["bold"],
            {"compare__arms": {"bold": {"strategy": "tri_parent", "options": {"sigmas": 1.0}}}},
        ),
        ("unknown-strategy", ["bold"], {"compare__arms": {"bold": {"strategy": "nonsense"}}}),
        ("other-budget", ["original", "bold"], {"compare__arms": {"bold": {"strategy": "mutate_best"}}}),
        (
            "schedule-of-no-locus",
            ["bold"],
            {
                "compare__arms": {
                    "bold": {
                        "strategy": "scheduled",
                        "options": {"schedule": {"speed": {"shape": "cosine"}}},
                    }
                }
            },
        ),
    ],
    ids=str,
)
def test_an_arm_that_cannot_be_is_refused_and_named(
    name: str, arms: list[str], changes: dict[str, Any]
) -> None:
    assert_golden(f"compare/arm/{name}", complaint(lambda: plan(config_of(**changes), arms, 1)))


def carried_out(planned: list[Planned], runs_dir: Path) -> None:
    for one in planned:
        run = runs_dir / one.config.run.name
        create_run(run, one.config)
        carry_out(run, FakeCaller())


def test_what_is_finished_are_the_seeds_that_every_arm_is_done_with(tmp_path: Path) -> None:
    config = config_of()
    planned = plan(config, ["original", "tri_parent"], 2)
    assert finished(planned, tmp_path) == {}
    assert write(config, planned, tmp_path) == []
    carried_out(planned[:3], tmp_path)
    found = finished(planned, tmp_path)
    assert {arm: list(by_seed) for arm, by_seed in found.items()} == {"original": [7], "tri_parent": [7]}
    assert not all_done(planned, tmp_path)
    assert {path.parent for path in write(config, planned, tmp_path)} == {directory_of(config, tmp_path)}
    carried_out(planned[3:], tmp_path)
    assert all_done(planned, tmp_path)


def test_a_run_that_was_cancelled_is_not_finished(tmp_path: Path) -> None:
    planned = plan(config_of(), ["tri_parent"], 1)
    carried_out(planned, tmp_path)
    with Journal(tmp_path / planned[0].config.run.name / JOURNAL) as journal:
        journal.append([encode(Ended("cancelled", "a user"))])
    assert finished(planned, tmp_path) == {}


def test_a_run_of_another_config_is_never_taken_for_one_of_the_comparison(tmp_path: Path) -> None:
    carried_out(plan(config_of(), ["tri_parent"], 1), tmp_path)
    other = plan(config_of(search__options={"sigma": 8.0}), ["tri_parent"], 1)
    with raises_golden("compare/run-of-another-search", UsageError, tmp_path):
        finished(other, tmp_path)


def test_a_comparison_that_begins_from_another_run_knows_its_own_runs(tmp_path: Path) -> None:
    first = plan(config_of(run__name="first"), ["tri_parent"], 1)
    carried_out(first, tmp_path)
    config = config_of(search__start={"run": first[0].config.run.name})
    planned = plan(config, ["original", "tri_parent"], 1)
    for one in planned:
        found = find_origin(one.config, tmp_path)
        assert found is not None
        create_run(tmp_path / one.config.run.name, found.config, start=(found.origin, found.data))
        history = carry_out(tmp_path / one.config.run.name, FakeCaller(epochs_before=2))
        assert history.config.space().given() == found.origin.genome
    assert all_done(planned, tmp_path)


def test_a_complete_comparison_prints_its_tables_and_its_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "_width", 200)
    config = small({"search.loci": LOCI, "run.name": "other"})
    Path("small.yaml").write_text(yaml.safe_dump(config))
    arms = ["original", "tri_parent"]
    planned = plan(load("small.yaml", {"run.name": "mine"}), arms, 3)
    carried_out(planned, tmp_path / "checkpoints")
    main(["compare", "small.yaml", "--run-name", "mine", "--arms", ",".join(arms), "--seeds", "3"])
    told = capsys.readouterr().out
    expected, verdict = conclusion(planned[0].config, finished(planned, tmp_path / "checkpoints"))
    for headings, rows in expected:
        for cell in (*headings, *(cell for row in rows for cell in row)):
            assert cell in told
    assert verdict.startswith("Verdict, by test loss: tri_parent is ")
    assert f"\n{verdict}\n" in told
    assert told.endswith("checkpoints/mine-compare/index.html\n")


def test_the_number_of_workers_makes_no_other_config(tmp_path: Path) -> None:
    carried_out(plan(config_of(), ["tri_parent"], 1), tmp_path)
    assert all_done(plan(config_of(cluster={"workers": 9}), ["tri_parent"], 1), tmp_path)
    threads = plan(config_of(cluster={"threads_per_member": 9}), ["tri_parent"], 1)
    with raises_golden("compare/run-of-other-threads", UsageError, tmp_path):
        finished(threads, tmp_path)


@pytest.mark.parametrize(
    "path",
    sorted(path for path in CONFIGS.rglob("*.yaml") if not path.name.startswith("hyp.")),
    ids=lambda path: str(path.relative_to(CONFIGS)),
)
def test_every_config_here_is_good_and_so_are_its_arms(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CONFIGS.parent)
    config = load(path)
    grown = [config.search.strategy] if config.search.phases else []  # its loci have no initial values
    arms = {*(grown or DEFAULT_ARMS), *config.compare.arms}
    if config.phases:
        message = complaint(lambda: plan(config, sorted(arms), 2))
        assert message.startswith("phases: ")
    elif not config.inherits:
        message = complaint(lambda: plan(config, sorted(arms), 2))
        assert message.startswith(("search.strategy: ", "search.inherit: "))
    else:
        assert len(plan(config, sorted(arms), 2)) == 2 * len(arms)
