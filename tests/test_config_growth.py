"""What a config may say of genomes that grow, and what is refused with a reason."""

from pathlib import Path
from typing import Any

import pytest
from run.growing import BLOCKS, growing

from configs import complaint
from evodevo.config import parse
from evodevo.config_file import load
from evodevo.run.simulation import try_strategy
from evodevo.service.comparison import plan
from tests.golden import assert_golden

CONFIGS = Path(__file__).parents[1] / "configs"
ARMS = ["variable_length", "fixed_length", "random_search"]


def test_generations_follow_from_phases_and_a_config_is_read_again_as_it_is() -> None:
    config = growing()
    assert (config.search.generations, config.search.leg_epochs(0)) == (6, 3)
    assert config.search.blocks is None
    assert parse(config.to_json()) == config


def test_fewer_generations_can_be_given_and_no_more() -> None:
    assert growing(search__generations=4).search.generations == 4
    said = complaint(lambda: growing(search__generations=7))
    assert_golden("config/growth/too-many-generations", said)


@pytest.mark.parametrize(
    ("name", "changes", "key"),
    [
        ("lengths-descend", {"search__phases": {"lengths": [1, 3, 2]}}, "search.phases"),
        ("lengths-empty", {"search__phases": {"lengths": []}}, "search.phases.lengths"),
        ("length-too-long", {"search__phases": {"lengths": [1, 2, 4]}}, "search.phases.lengths"),
        ("locus-unknown", {"search__phases": {"lengths": [1], "locus": "block"}}, "search.phases.locus"),
        ("locus-a-choice", {"search__phases": {"lengths": [1], "locus": "rate"}}, "search.phases.locus"),
        (
            "generations-zero",
            {"search__phases": {"lengths": [1], "generations": 0}},
            "search.phases.generations",
        ),
        ("unknown-key", {"search__phases": {"lenghts": [1]}}, "search.phases.lenghts"),
        ("phases-missing", {"search__phases": None, "search__generations": 2}, "search.phases"),
        ("strategy-does-not-grow", {"search__strategy": "tri_parent"}, "search.phases"),
        ("soup", {"search__soup": True}, "search.soup"),
        ("recombine", {"search__recombine": {"last": 0.5}}, "search.recombine"),
        (
            "epochs-differ",
            {"search__epochs_per_generation": [1, 2, 2, 2, 2, 2]},
            "search.epochs_per_generation",
        ),
        ("epochs-given", {"search__epochs": 9}, "search: phases: "),
        ("most-one", {"search__blocks": {**BLOCKS, "most": 1}}, "search.blocks.most"),
        ("blocks-unknown-key", {"search__blocks": {**BLOCKS, "mots": 1}}, "search.blocks.mots"),
        (
            "block-locus-type",
            {"search__blocks": {**BLOCKS, "loci": {"w": {"type": "it"}}}},
            "search.loci.block1.w",
        ),
        ("blocks-among-loci", {"search__loci": {"blocks": {"type": "bool"}}}, "search: blocks: "),
        (
            "nothing-new",
            {"search__blocks": {"most": 3, "loci": {"a": {"type": "fixed", "value": 1}}}},
            "search.phases.lengths",
        ),
        ("crossover", {"search__options": {"crossover": "two_point"}}, "search.options.crossover"),
        ("member-epochs", {"limits__member_epochs": 0}, "limits.member_epochs"),
    ],
)
def test_what_makes_no_sense_is_refused_and_named(name: str, changes: dict[str, Any], key: str) -> None:
    said = complaint(lambda: growing(**changes))
    assert said.startswith("config: ")
    assert key in said
    assert_golden(f"config/growth/{name}", said)


@pytest.mark.parametrize("name", ["variable-length.yaml", "small/variable-length.yaml"])
def test_the_configs_and_their_arms_are_good(name: str) -> None:
    config = load(CONFIGS / name)
    try_strategy(config)
    runs = {one.arm: one.config for one in plan(config, ARMS, 1)}
    own = runs["variable_length"]
    assert own.search == config.search
    assert runs["fixed_length"].search.phases is not None
    assert runs["fixed_length"].search.phases.lengths == [own.search.loci["blocks"].high]  # type: ignore[union-attr]
    assert (runs["random_search"].search.phases, runs["random_search"].inherits) == (None, False)
    for other in runs.values():
        assert other.limits == own.limits
        assert other.search.leg_epochs(0) == own.search.leg_epochs(0)
        assert other.search.loci == own.search.loci
        most = other.search.generations * other.search.population * other.search.leg_epochs(0)
        assert most >= 0.9 * (config.limits.member_epochs or 0), "the budget ends it, or all phases are done"
