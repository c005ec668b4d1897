"""What a config may say of genomes that grow, and what is refused with a reason."""

from pathlib import Path
from typing import Any

import pytest

from evodevo.config import parse
from evodevo.config_file import load
from evodevo.run.simulation import try_strategy
from evodevo.service.comparison import plan
from tests.configs import complaint
from tests.run.growing import BLOCKS, growing

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
    assert said.endswith("phases: 3 of 2 generations are 6, and generations is 7; leave generations out")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"search__phases": {"lengths": [1, 3, 2]}}, "search.phases: lengths has 2 after 3"),
        ({"search__phases": {"lengths": []}}, "search.phases.lengths: is empty"),
        ({"search__phases": {"lengths": [1, 2, 4]}}, "search.phases.lengths: 4 is not a value of blocks"),
        (
            {"search__phases": {"lengths": [1], "locus": "block"}},
            "search.phases.locus: block is not a locus; did you mean blocks?",
        ),
        ({"search__phases": {"lengths": [1], "locus": "rate"}}, "search.phases.locus: rate is choice"),
        ({"search__phases": {"lengths": [1], "generations": 0}}, "search.phases.generations"),
        ({"search__phases": {"lenghts": [1]}}, "search.phases.lenghts: unknown key; did you mean lengths?"),
        ({"search__phases": None, "search__generations": 2}, "search.phases: is missing; give lengths"),
        ({"search__strategy": "tri_parent"}, "search.phases: genomes of tri_parent do not grow"),
        ({"search__soup": True}, "search.soup: networks of different genomes have no mean"),
        (
            {"search__recombine": {"last": 0.5}},
            "search.recombine: networks of different genomes have no mean",
        ),
        (
            {"search__epochs_per_generation": [1, 2, 2, 2, 2, 2]},
            "search.epochs_per_generation: survivors are not trained again",
        ),
        ({"search__epochs": 9}, "phases: say how many generations there are; leave epochs out"),
        ({"search__blocks": {**BLOCKS, "most": 1}}, "search.blocks.most"),
        ({"search__blocks": {**BLOCKS, "mots": 1}}, "search.blocks.mots: unknown key"),
        ({"search__blocks": {**BLOCKS, "loci": {"w": {"type": "it"}}}}, "search.loci.block1.w"),
        ({"search__loci": {"blocks": {"type": "bool"}}}, "blocks: blocks is among loci, too"),
        (
            {"search__blocks": {"most": 3, "loci": {"a": {"type": "fixed", "value": 1}}}},
            "search.phases.lengths: with 2 nothing is new that evolves",
        ),
        ({"search__options": {"crossover": "two_point"}}, "search.options.crossover"),
        ({"limits__member_epochs": 0}, "limits.member_epochs"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value,
)
def test_what_makes_no_sense_is_refused_and_named(changes: dict[str, Any], said: str) -> None:
    assert said in complaint(lambda: growing(**changes))


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
