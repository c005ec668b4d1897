"""Random compositions of what the zoo has: each equals training in one go, or is refused."""

import math
import warnings
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from evodevo.errors import UsageError
from tests.workers.toys import assignment, job, run_one, section
from tests.zoo import contract
from tests.zoo.composed import AUTOCAST, DATA, MODELS, OPTIMIZERS, SCHEDULERS
from workers.describe import describe

EXAMPLES = 60
options = st.fixed_dictionaries(
    {
        "model": st.sampled_from(sorted(MODELS)),
        "optimizer": st.sampled_from(sorted(OPTIMIZERS)),
        "scheduler": st.sampled_from(sorted(SCHEDULERS)),
        "scheduler_per": st.sampled_from(["epoch", "step"]),
        "data": st.sampled_from(sorted(DATA)),
        "accumulate": st.sampled_from([1, 1, 2, 3]),
        "clip": st.booleans(),
        "average": st.booleans(),
        "autocast": st.sampled_from(sorted(AUTOCAST)),
    }
)
lengths = st.sampled_from([{"longest_leg": 1}, {"longest_leg": 2}, {"steps": 3}, {"steps": 5}])
loci = st.fixed_dictionaries(
    {"rate": st.sampled_from([0.01, 0.02]), "on": st.booleans(), "frozen": st.sampled_from([0, 0, 1])}
)
outcomes: Counter[str] = Counter()


@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(options, lengths, loci, loci)
def try_one(
    tmp_path_factory: pytest.TempPathFactory,
    given: dict[str, Any],
    length: dict[str, int],
    one: dict[str, Any],
    other: dict[str, Any],
) -> None:
    directory = tmp_path_factory.mktemp("composed")
    use = section("tests.zoo.composed:Net", **given)
    total = 3 * length["longest_leg"] if "longest_leg" in length else None
    about = job(directory, use, total_epochs=total, seed=3, **length)
    contract.forget()
    try:
        describe(about, [one, other], twice=True)
    except UsageError as why:
        note(str(why))
        assert "\n" not in str(why)
        outcomes["refused"] += 1
        outcomes[str(why).partition("Net")[2][:150]] += 1
        return
    outcomes["works"] += 1
    for hyperparameters in (one, other):
        in_one_go, metrics = contract.in_one_go(about, hyperparameters)
        by_legs, reported = contract.by_legs(about, hyperparameters)
        assert by_legs == in_one_go
        assert {key: reported[key] for key in metrics} == metrics
    parent = None
    for generation, hyperparameters in enumerate((one, other, one)):
        outcome = run_one(
            about,
            assignment(
                parent,
                hyperparameters=hyperparameters,
                training_seed=generation,
                epoch=generation * about.longest_leg,
                attempt=generation + 1,
            ),
        )
        assert outcome.status == "done", outcome.error
        assert outcome.fom is not None and math.isfinite(outcome.fom)
        parent = outcome.checkpoint


@pytest.mark.slow
def test_a_composition_equals_training_in_one_go_bit_for_bit_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try_one(tmp_path_factory)
    assert outcomes["works"] > EXAMPLES / 2, outcomes
