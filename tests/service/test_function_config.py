"""What `evodevo.minimise` makes of its arguments before there is a cluster."""

from typing import Any

import numpy as np
import pytest

from evodevo.errors import UsageError
from evodevo.service.function_space import loci_of
from evodevo.service.functions import config_of

SPACE = {"x": (0.0, 1.0)}
CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    "space, initial, more, said",
    [
        ({"x": (np.arange(2), 1)}, {}, {}, "space: x is"),
        ({"x": [np.arange(3)]}, {}, {}, "search.loci.x.choices.0"),
        ({"x": (0.0, 10**400)}, {}, {}, "search.loci.x.high"),
        (SPACE, {"x": 10**400}, {}, "search.loci.x.initial"),
        ({"x": [CIRCLE, 1]}, {}, {}, "space: x is nested too deeply, or contains itself"),
        (SPACE, {"x": CIRCLE}, {}, "space: x is nested too deeply, or contains itself"),
        (SPACE, {}, {"options": 3}, "options is 3"),
        (SPACE, {}, {"options": {"sigma": CIRCLE}}, "search.options.sigma: nested more than 50 levels"),
        (SPACE, {}, {"strategy": None}, "strategy is None"),
    ],
)
def test_what_makes_no_sense_is_named(
    space: dict[str, Any], initial: dict[str, Any], more: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as refused:
        config_of("min", {"function": "math:sin"}, loci_of(space, initial), "name", 4, 3, **more)
    assert said in str(refused.value)


def test_numbers_of_numpys_and_a_class_are_what_they_stand_for() -> None:
    from examples.own_strategy import FollowTheBest

    config = config_of(
        "min",
        {"function": "math:sin"},
        loci_of(SPACE, {}),
        "name",
        np.int64(6),
        np.int32(3),
        FollowTheBest,
        {},
        seed=np.int64(7),
        timeout_s=np.float64(2.5),
    )
    assert (config.search.population, config.search.generations, config.run.seed) == (6, 3, 7)
    assert config.limits.epoch_timeout_s == 2.5
    assert config.search.strategy == "examples.own_strategy:FollowTheBest"
