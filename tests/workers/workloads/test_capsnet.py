"""Capsules: squashing, routing and the margin loss, against values worked out by hand."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from evodevo.errors import UsageError
from tests.workers.made_images import HYPERPARAMETERS, RECIPE, prepared
from workers.workload import Leg
from workers.workloads.capsnet import CapsNet, CapsuleNetwork, margin_loss, route, squash

SIGMOID_HALF = 1 / (1 + math.exp(-0.5))


def test_it_has_the_number_of_parameters_that_its_docstring_says() -> None:
    # 3x3 convolutions 3-64-64-128-128 with a bias, and one matrix of 128 x 160 for all positions
    expected = (27 * 64 + 64) + (576 * 64 + 64) + (576 * 128 + 128) + (1152 * 128 + 128) + 128 * 160
    assert sum(parameter.numel() for parameter in CapsNet().model().parameters()) == expected == 280_640
    assert f"{expected:,}" in str(CapsNet.__doc__)


@pytest.mark.parametrize(("pixels", "positions"), [(32, 100), (16, 4)])
def test_what_is_routed_comes_from_100_positions_or_from_4_of_small_images(
    pixels: int, positions: int
) -> None:
    model = CapsuleNetwork()
    features = model.features(torch.zeros(2, 3, pixels, pixels))
    assert features.shape == (2, 128, positions**0.5, positions**0.5)


def test_the_score_of_a_class_is_the_length_of_its_capsule_and_less_than_1() -> None:
    torch.manual_seed(0)
    model, images = CapsuleNetwork(), 10 * torch.randn(3, 3, 16, 16)
    features = model.features(images)
    said = torch.einsum("ncij,koc->nkijo", features, model.predictions.weight.unflatten(0, (10, 16)))
    expected = route(said.flatten(2, 3), 3, 0.5).square().sum(2).sqrt()
    torch.testing.assert_close(model(images), expected)
    assert float(model(images).detach().max()) < 1


@pytest.mark.parametrize(
    ("vector", "q", "expected"),
    [
        ([3.0, 4.0], 1.0, [0.6 * 25 / 26, 0.8 * 25 / 26]),
        ([3.0, 4.0], 0.5, [0.6 * 25 / 25.5, 0.8 * 25 / 25.5]),
        ([-0.5, 0.0], 0.25, [-0.5, 0.0]),
        ([0.0, 0.0], 0.5, [0.0, 0.0]),
        ([1e4, 0.0], 0.5, [1.0, 0.0]),
    ],
)
def test_squash_has_the_values_of_its_formula(vector: list[float], q: float, expected: list[float]) -> None:
    assert squash(torch.tensor([vector]), q)[0].tolist() == pytest.approx(expected, rel=1e-6)


def test_squash_has_a_gradient_of_zero_at_zero_and_a_right_one_elsewhere() -> None:
    vectors = torch.tensor([[0.0, 0.0], [0.3, -0.2]], dtype=torch.float64, requires_grad=True)
    squash(vectors, 0.5).sum().backward()
    assert vectors.grad is not None
    assert vectors.grad[0].tolist() == [0.0, 0.0]
    elsewhere = vectors.detach()[1:].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: squash(v, 0.5), (elsewhere,))


def said() -> Tensor:
    """(1, 2, 2, 1): of two capsules of size 1, two positions say 1 and 1, and 0 and 2."""
    return torch.tensor([[[[1.0], [1.0]], [[0.0], [2.0]]]])


@pytest.mark.parametrize(
    ("routings", "expected"),
    [
        # Half of what each position says: sums of 1, squashed with q = 1 to 1 / 2.
        (1, [0.5, 0.5]),
        # Agreement 1/2 and 1/2 with the first, 0 and 1 with the second: the first position gives the first
        # capsule sigmoid(1/2) = 0.622 of itself, the second position gives it 0.378; sums of 1 and 2 x 0.622.
        (2, [0.5, (2 * SIGMOID_HALF) ** 2 / (1 + (2 * SIGMOID_HALF) ** 2)]),
        # Agreement 1/2 + 1/2 and the same, 0 and 1 + 2 x 0.608.
        (
            3,
            [
                squashed
                for first, second in [(1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1 + 2 * 0.6078160 - 1)))]
                for total in (first + second, 2 * (1 - second))
                for squashed in [total**2 / (1 + total**2)]
            ],
        ),
    ],
)
def test_routing_has_the_values_worked_out_by_hand(routings: int, expected: list[float]) -> None:
    assert route(said(), routings, 1.0).flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_one_iteration_of_routing_couples_every_position_to_every_capsule_alike() -> None:
    predicted = torch.randn(5, 10, 7, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(route(predicted, 1, 0.5), squash(predicted.sum(2) / 10, 0.5))


def test_routing_prefers_the_capsule_that_the_positions_agree_on() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted = torch.randn(1, 10, 30, 16, generator=generator)
    predicted[0, 4] = torch.randn(16, generator=generator)
    lengths = [route(predicted, routings, 0.5).norm(dim=2)[0] for routings in (1, 3, 5)]
    assert all(int(found.argmax()) == 4 for found in lengths)
    others = [float(found.sum() - found[4]) for found in lengths]
    assert others[0] > others[1] > others[2]


def test_the_margin_loss_has_the_value_worked_out_by_hand() -> None:
    lengths = torch.zeros(2, 10)
    lengths[0, :2] = torch.tensor([0.8, 0.3])  # class 0: 0.1² missed and half of 0.2² claimed
    lengths[1, :3] = torch.tensor([0.95, 0.1, 0.6])  # class 2: 0.3² missed and half of 0.85² claimed
    expected = (0.01 + 0.5 * 0.04 + 0.09 + 0.5 * 0.7225) / 2
    assert float(margin_loss(lengths, torch.tensor([0, 2]))) == pytest.approx(expected, rel=1e-5)


def test_lengths_beyond_the_margins_cost_nothing() -> None:
    lengths = torch.full((1, 10), 0.1)
    lengths[0, 7] = 0.9
    assert float(margin_loss(lengths, torch.tensor([7]))) == pytest.approx(0, abs=1e-12)


def test_weights_are_glorots_and_biases_zero() -> None:
    torch.manual_seed(0)
    model = CapsuleNetwork()
    for weight, inputs, outputs in (
        (model.features[2].weight, 64 * 9, 64 * 9),
        (model.predictions.weight, 128, 160),
    ):
        limit = math.sqrt(6 / (inputs + outputs))
        assert 0.98 * limit < float(weight.detach().abs().max()) <= limit  # type: ignore[operator, union-attr]
    biases = [parameter for name, parameter in model.named_parameters() if name.endswith("bias")]
    assert [float(bias.detach().abs().max()) for bias in biases] == [0.0] * 4


def evaluated(workload: Any, **hp: Any) -> dict[str, float]:
    found: dict[str, float] = workload.evaluate(
        workload.begin({**HYPERPARAMETERS, **hp}, 0, None), "validation"
    )
    return found


def test_a_member_is_trained_and_evaluated_with_its_own_q_and_routings() -> None:
    workload = prepared(CapsNet)
    losses = [
        evaluated(workload, **hp)["validation_loss"]
        for hp in ({}, {"q": 0.5, "routings": 3}, {"q": 0.01}, {"q": 0.01, "routings": 1})
    ]
    assert losses[0] == losses[1]
    assert len(set(losses)) == 3
    first = {
        next(iter(workload.train(workload.begin({**HYPERPARAMETERS, **hp}, 0, None)))).item()
        for hp in ({}, {"q": 0.01}, {"q": 0.01, "routings": 1})
    }
    assert len(first) == 3


def test_a_child_has_its_alphas_weights_and_its_own_q_and_routings() -> None:
    workload = prepared(CapsNet)
    alpha = workload.begin({**HYPERPARAMETERS, "q": 2.0, "routings": 5}, 0, None)
    child = workload.begin({**HYPERPARAMETERS, "q": 0.1, "routings": 2}, 1, workload.checkpoint(alpha))
    assert isinstance(child.model, CapsuleNetwork)
    assert (child.model.q, child.model.routings) == (0.1, 2)
    assert torch.equal(child.model.predictions.weight, alpha.model.predictions.weight)  # type: ignore[arg-type]


def test_the_average_that_is_judged_has_the_members_own_q_and_routings() -> None:
    workload = prepared(CapsNet)
    leg = Leg(average_half_life=1.0)
    alpha = workload.begin({**HYPERPARAMETERS, "q": 2.0, "routings": 5}, 0, None, leg)
    parent = workload.checkpoint(alpha)
    child = workload.begin({**HYPERPARAMETERS, "q": 0.1, "routings": 2}, 1, parent, leg)
    assert isinstance(child.judged, CapsuleNetwork)
    assert child.judged is not child.model
    assert (child.judged.q, child.judged.routings) == (0.1, 2)


@pytest.mark.parametrize(
    ("hp", "message"),
    [
        ({"q": 0.0}, "search.loci.q: should be more than 0, not 0.0"),
        ({"q": -1.0}, "search.loci.q: should be more than 0, not -1.0"),
        ({"q": math.nan}, "search.loci.q: should be more than 0, not nan"),
        ({"routings": 0}, "search.loci.routings: should be a whole number, 1 or more, not 0"),
        ({"routings": 2.5}, "search.loci.routings: should be a whole number, 1 or more, not 2.5"),
    ],
    ids=str,
)
def test_a_q_or_routings_that_cannot_be_is_refused_by_its_name(hp: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        prepared(CapsNet).begin({**HYPERPARAMETERS, **hp}, 0, None)
    assert str(caught.value) == message


def test_routing_is_in_float32_where_the_network_is_not() -> None:
    torch.manual_seed(0)
    model, images = CapsuleNetwork(), torch.randn(3, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert model.predictions(torch.zeros(1, 128)).dtype == torch.bfloat16
        lengths = model(images)
    assert lengths.dtype == torch.float32
    assert not torch.equal(lengths, lengths.bfloat16().float())


def test_a_rehearsal_reads_the_hyperparameters_and_reports_loss_and_error() -> None:
    given = {**HYPERPARAMETERS, "q": 0.5, "routings": 3}
    metrics, read = prepared(CapsNet).rehearse(given)
    assert metrics == ["validation_loss", "validation_error"]
    assert read == {*given, "anneal", *RECIPE}
