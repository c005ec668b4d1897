"""Stacked networks against the same networks one by one."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from workers import stacked_layers
from workers.seeding import Randomness, seed_all
from workers.stacked_masks import InTurn
from workers.stacking import channels_last, draw_masks_from, load, stack, stacked_from, state_of
from workers.workloads.capsnet import CapsuleNetwork
from workers.workloads.characters import NextCharacter
from workers.workloads.lenet import LeNet
from workers.workloads.resnet20 import ResNet20

CPU = torch.device("cpu")


class Case(NamedTuple):
    model: Callable[[], nn.Module]
    inputs: Callable[[int], Tensor]
    """Returns the inputs of K members, [K, batch, ...]."""
    relative: float = 1e-9
    """In double precision; of a network that computes in single precision inside, more."""


def images(*shape: int) -> Callable[[int], Tensor]:
    return lambda count: torch.randn(count, *shape)


def numbers(count: int) -> Tensor:
    return torch.randint(0, 12, (count, 9, 4))


def residual(depth: int, shortcut: Any) -> Callable[[], nn.Module]:
    return lambda: ResNet20(depth=depth, shortcut=shortcut).model()


def layers_of_all_kinds() -> nn.Module:
    return nn.Sequential(
        nn.Sequential(nn.Conv1d(4, 8, 3, groups=2, padding="same"), nn.GroupNorm(2, 8), nn.GELU()),
        nn.BatchNorm1d(8, momentum=0.3, affine=False), nn.AvgPool1d(2), nn.Conv1d(8, 6, 2, 2, dilation=2),
        nn.BatchNorm1d(6, track_running_stats=False), nn.LeakyReLU(0.1), nn.AdaptiveAvgPool1d(2),
        nn.LayerNorm([6, 2]), nn.Linear(2, 3), nn.Flatten(start_dim=-2), nn.LayerNorm(18, bias=False),
        nn.Tanh(), nn.Linear(18, 5, bias=False), nn.BatchNorm1d(5),
    )  # fmt: skip


CASES = {
    "LeNet": Case(lambda: LeNet().model(), images(7, 1, 28, 28)),
    "ResNet-8": Case(residual(8, "identity"), images(5, 3, 16, 16)),
    "ResNet-8 with projections": Case(residual(8, "projection"), images(5, 3, 16, 16)),
    "ResNet-20": Case(residual(20, "identity"), images(3, 3, 16, 16)),
    "ResNet-20 with projections": Case(residual(20, "projection"), images(3, 3, 16, 16)),
    "CapsNet": Case(CapsuleNetwork, images(3, 3, 16, 16), 1e-4),
    "NextCharacter": Case(lambda: NextCharacter(12, 4, 3, 8), numbers),
    "layers of all kinds": Case(layers_of_all_kinds, images(6, 4, 16)),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def made(case: Case, count: int, seed: int = 0) -> tuple[list[nn.Module], Tensor]:
    """Return networks with different parameters, and inputs, in double precision."""
    seed_all(seed)
    models = [case.model().double() for _ in range(count)]
    inputs = case.inputs(count)
    return models, inputs.double() if inputs.is_floating_point() else inputs


def close(found: Tensor, wanted: Tensor, relative: float) -> None:
    scale = float(wanted.detach().abs().max()) if wanted.numel() else 0.0
    torch.testing.assert_close(found, wanted, rtol=relative, atol=relative * max(scale, 1e-3))


def states_are_close(stacked: nn.Module, models: Sequence[nn.Module], relative: float) -> None:
    for member, model in enumerate(models):
        found, wanted = state_of(stacked, member), model.state_dict()
        assert list(found) == list(wanted)
        for name, value in wanted.items():
            if value.is_floating_point():
                close(found[name], value, relative)
            else:
                assert torch.equal(found[name], value)


@each_case
@pytest.mark.parametrize("count", [1, 3, 5])
@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels_last"])
def test_outputs_gradients_and_buffers_are_those_of_each_network_alone(
    case: Case, count: int, last: bool
) -> None:
    models, inputs = made(case, count)
    stacked = channels_last(stacked_from(models), last)
    if inputs.is_floating_point():
        inputs.requires_grad_()
    outputs = stacked(inputs)
    weights = torch.randn_like(outputs)
    (outputs * weights).sum().backward()
    together, inputs_grad = dict(stacked.named_parameters()), inputs.grad
    for member, model in enumerate(models):
        own = inputs[member].detach().requires_grad_(inputs.is_floating_point())
        alone = model(own)
        (alone * weights[member]).sum().backward()
        close(outputs[member], alone, case.relative)
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            grad = together[name].grad
            assert grad is not None
            close(grad[member], parameter.grad, case.relative)
        if inputs_grad is not None:
            assert own.grad is not None
            close(inputs_grad[member], own.grad, case.relative)
    states_are_close(stacked, models, case.relative)


@each_case
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_after_several_steps_each_member_is_where_it_would_be_alone(case: Case, optimizer: str) -> None:
    models, _ = made(case, 3)
    stacked = stacked_from(models)

    def made_for(network: nn.Module) -> torch.optim.Optimizer:
        if optimizer == "adam":
            return torch.optim.Adam(network.parameters(), lr=1e-3, eps=1e-4)
        return torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-3)

    together, alone = made_for(stacked), [made_for(model) for model in models]
    for step in range(4):
        _, inputs = made(case, 3, seed=100 + step)
        together.zero_grad()
        stacked(inputs).square().mean((1, 2)).sum().backward()
        together.step()
        for model, one, values in zip(models, alone, inputs, strict=True):
            one.zero_grad()
            model(values).square().mean().backward()
            one.step()
    states_are_close(stacked, models, 100 * case.relative)
    for network in (stacked, *models):
        network.eval()
    with torch.no_grad():
        for found, model, values in zip(stacked(inputs), models, inputs, strict=True):
            close(found, model(values), 100 * case.relative)


@each_case
def test_parameters_that_are_not_numbers_stay_with_their_member(case: Case) -> None:
    models, inputs = made(case, 3)
    for network in models:
        network.float()
    inputs = inputs.float() if inputs.is_floating_point() else inputs
    whole = stacked_from(models)
    broken = copy.deepcopy(whole)
    with torch.no_grad():
        for parameter in broken.parameters():
            parameter[1] = torch.nan
    good, bad = whole(inputs), broken(inputs)
    for outputs in (good, bad):
        outputs.square().sum().backward()
    others = [0, 2]
    assert torch.isnan(bad[1]).all()
    torch.testing.assert_close(bad[others], good[others])
    for one, other in zip(whole.parameters(), broken.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.isfinite(other.grad[others]).all()
        torch.testing.assert_close(other.grad[others], one.grad[others])
    for mine, theirs in zip(whole.buffers(), broken.buffers(), strict=True):
        torch.testing.assert_close(theirs[others], mine[others])


@each_case
@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels_last"])
def test_nothing_of_a_step_depends_on_what_is_in_the_tensors(case: Case, last: bool) -> None:
    """With tensors that have shapes only: asking for a value raises, as in the capture of a CUDA graph."""
    _, inputs = made(case, 4)
    stacked = channels_last(stack(case.model().double(), 4), last)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        state = {name: mode.from_tensor(value) for name, value in stacked.state_dict().items()}
        kernels = [state[name].requires_grad_() for name, _ in stacked.named_parameters()]
        outputs = torch.func.functional_call(stacked, state, (mode.from_tensor(inputs),))
        grads = torch.autograd.grad(outputs.sum(), kernels)
    assert outputs.shape == stacked(inputs).shape
    assert all(isinstance(grad, FakeTensor) for grad in grads)


@each_case
def test_tensors_have_the_names_of_the_network_and_a_leading_dimension(case: Case) -> None:
    model = case.model()
    stacked = stack(model, 4)
    for kind in ("named_parameters", "named_buffers"):
        mine, theirs = list(getattr(model, kind)()), list(getattr(stacked, kind)())
        assert [name for name, _ in theirs] == [name for name, _ in mine]
        for (_, value), (_, four) in zip(mine, theirs, strict=True):
            assert torch.equal(four, torch.stack([value] * 4))


def test_the_members_are_folded_once_and_unfolded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counted(name: str) -> None:
        real = getattr(stacked_layers, name)
        monkeypatch.setattr(stacked_layers, name, lambda *given: (calls.append(name), real(*given))[1])

    counted("fold")
    counted("unfold")
    for name in ("LeNet", "ResNet-8 with projections"):
        calls.clear()
        models, inputs = made(CASES[name], 2)
        stacked_from(models)(inputs)
        assert calls == ["fold", "unfold"]


def test_images_are_in_channels_last_between_the_layers_if_that_is_asked_for() -> None:
    for count in (1, 4):
        stacked = channels_last(stack(LeNet().model(), count))
        seen: list[bool] = []
        first = stacked.get_submodule("0")
        real = first.folded
        first.folded = lambda values, real=real, seen=seen: (  # type: ignore[assignment, misc]
            seen.append(values.is_contiguous(memory_format=torch.channels_last)),
            real(values),
        )[1]
        stacked(torch.randn(count, 2, 1, 28, 28))
        assert seen == [True]


@pytest.mark.parametrize("name", ["LeNet", "ResNet-8", "CapsNet"])
def test_bfloat16_differs_from_float32_no_more_than_it_does_for_each_network_alone(name: str) -> None:
    models, inputs = made(CASES[name], 3)
    models, inputs = [model.float() for model in models], inputs.float()
    stacked = channels_last(stacked_from(models))
    exact = stacked(inputs)
    with torch.autocast("cpu", torch.bfloat16):
        rough = stacked(inputs)
        alone = torch.stack([model(one) for model, one in zip(models, inputs, strict=True)])
    rough.float().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in stacked.parameters())
    error, error_alone = ((one.float() - exact).abs().max() for one in (rough, alone))
    assert 0 < error <= 3 * error_alone


def test_members_in_columns_of_an_arena_are_computed_and_their_statistics_are_kept_there() -> None:
    models, inputs = made(CASES["ResNet-8"], 3)
    stacked = stacked_from(models)
    state = {name: value for name, value in stacked.state_dict().items() if value.is_floating_point()}
    sizes = [value[0].numel() for value in state.values()]
    arena = torch.cat([value.flatten(1) for value in state.values()], 1)
    views = {
        name: column.view(value.shape)
        for (name, value), column in zip(state.items(), arena.split(sizes, 1), strict=True)
    }
    outputs = torch.func.functional_call(stacked, views, (inputs,))
    for member, model in enumerate(models):
        close(outputs[member], model(inputs[member]), 1e-9)
        for name, value in model.named_buffers():
            if value.is_floating_point():
                close(views[name][member], value, 1e-9)


def test_capsules_have_a_q_of_each_member() -> None:
    models, inputs = made(CASES["CapsNet"], 3)
    for model, q in zip(models, (0.3, 0.5, 1.0), strict=True):
        assert isinstance(model, CapsuleNetwork)
        model.q, model.routings = q, 2
    outputs = stacked_from(models)(inputs)
    for found, model, one in zip(outputs, models, inputs, strict=True):
        close(found, model(one), 1e-5)


def test_a_frozen_layer_and_a_mode_of_evaluation_are_kept() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
    model[0].requires_grad_(False)
    model[1].eval()
    stacked = stack(model, 2)
    assert [parameter.requires_grad for parameter in stacked.parameters()] == [False, False, True, True]
    assert [module.training for module in stacked.children()] == [True, False, True]


def test_states_go_in_and_out_bit_for_bit() -> None:
    models = [case.model() for case in [CASES["ResNet-8"]] * 3]
    payload = torch.tensor([0x7FC12345], dtype=torch.int32).view(torch.float32)
    with torch.no_grad():
        next(models[1].parameters()).view(-1)[0] = payload[0]
    stacked = stack(models[0], 3)
    load(stacked, [model.state_dict() for model in models])
    for member, model in enumerate(models):
        found = state_of(stacked, member)
        for name, value in model.state_dict().items():
            as_bits = torch.int32 if value.dtype == torch.float32 else torch.int64
            assert torch.equal(found[name].view(as_bits), value.view(as_bits))
    state_of(stacked, 0)["0.weight"].zero_()
    assert stacked.state_dict()["0.weight"][0].any()


def test_states_that_do_not_fit_are_refused() -> None:
    stacked = stack(nn.Linear(2, 3), 2)
    good = nn.Linear(2, 3).state_dict()
    for states, message in (
        ([good], "for 2 members, so it cannot load 1"),
        (
            [good, nn.Linear(2, 4).state_dict()],
            r"member 1, weight: should be torch.float32 \[3, 2\], not .*4, 2",
        ),
        ([good, nn.Linear(2, 3, bias=False).state_dict()], "member 1, bias: .* not nothing"),
        ([good, good | {"more": torch.ones(1)}], "has no more"),
    ):
        with pytest.raises(ValueError, match=message):
            load(stacked, states)


def dense(kind: type[nn.Module], p: float) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.Dropout2d(p), nn.ReLU(), nn.Flatten(),
        nn.Linear(144, 6), kind(p), nn.Linear(6, 2),
    )  # fmt: skip


def test_dropout_of_each_member_is_that_of_its_network_alone_with_its_generators() -> None:
    models = [dense(nn.Dropout, p).double() for p in (0.1, 0.0, 0.6, 1.0, 0.3)]
    members = []
    for seed in range(5):
        seed_all(seed)
        members.append(Randomness(CPU))
    stacked = draw_masks_from(stacked_from(models), InTurn(members))
    inputs = torch.randn(5, 9, 2, 8, 8, dtype=torch.float64)
    for _ in range(2):
        first, second = stacked(inputs), stacked(inputs)
    after = []
    for member in members:
        with member.in_force():
            after.append(torch.rand(()))
    for seed, model in enumerate(models):
        seed_all(seed)
        for _ in range(2):
            alone = model(inputs[seed]), model(inputs[seed])
        close(first[seed], alone[0], 1e-9)
        close(second[seed], alone[1], 1e-9)
        assert torch.rand(()) == after[seed]
    assert not torch.equal(first[0], second[0])


def test_members_with_dropout_of_their_own_are_trained_as_they_would_be_alone() -> None:
    models = [dense(nn.Dropout, p).double() for p in (0.1, 0.0, 0.6)]
    members = []
    for seed in range(3):
        seed_all(seed)
        members.append(Randomness(CPU))
    stacked = draw_masks_from(stacked_from(models), InTurn(members))
    inputs = torch.randn(3, 9, 2, 8, 8, dtype=torch.float64)
    together = torch.optim.SGD(stacked.parameters(), lr=0.05)
    for _ in range(4):
        together.zero_grad()
        stacked(inputs).square().sum().backward()
        together.step()
    for seed, model in enumerate(models):
        seed_all(seed)
        alone = torch.optim.SGD(model.parameters(), lr=0.05)
        for _ in range(4):
            alone.zero_grad()
            model(inputs[seed]).square().sum().backward()
            alone.step()
    states_are_close(stacked, models, 1e-7)


def test_scores_of_characters_have_the_dropout_that_each_member_is_given() -> None:
    models, inputs = made(CASES["NextCharacter"], 3)
    members = []
    for seed in range(3):
        seed_all(seed)
        members.append(Randomness(CPU))
    stacked = draw_masks_from(stacked_from(models), InTurn(members))
    rates = [0.2, 0.0, 0.7]
    outputs = stacked(inputs, torch.tensor(rates, dtype=torch.float64))
    for seed, model in enumerate(models):
        seed_all(seed)
        close(outputs[seed], model(inputs[seed], rates[seed]), 1e-9)
    stacked.eval()
    assert torch.equal(stacked(inputs, torch.ones(3)), stacked(inputs))


def test_masks_from_the_global_generator_drop_what_each_member_says() -> None:
    stacked = stacked_from([nn.Dropout(p) for p in (0.0, 0.25, 1.0)])
    seed_all(0)
    outputs = stacked(torch.ones(3, 100, 100))
    assert torch.equal(outputs[0], torch.ones(100, 100))
    assert not outputs[2].any()
    assert (outputs[1] == 0).double().mean() == pytest.approx(0.25, abs=0.02)
    assert outputs[1].max() == pytest.approx(4 / 3)
    assert torch.equal(stacked.eval()(torch.ones(3, 4)), torch.ones(3, 4))


def test_a_whole_channel_is_dropped() -> None:
    outputs = stack(nn.Dropout2d(0.5), 2)(torch.ones(2, 8, 6, 3, 3))
    assert set(outputs.sum((3, 4)).unique().tolist()) == {0.0, 18.0}


def test_embeddings_and_dropout_of_one_member_get_no_gradient_of_another() -> None:
    stacked = stack(nn.Embedding(5, 2), 3)
    stacked(torch.tensor([[[0]], [[4]], [[2]]])).sum().backward()
    (weight,) = stacked.parameters()
    assert weight.grad is not None
    assert weight.grad.sum(2).nonzero().tolist() == [[0, 0], [1, 4], [2, 2]]


def test_losses_per_member_of_a_stacked_network_are_summed_to_have_each_members_gradient() -> None:
    """How a caller has all members' gradients by one backward pass."""
    models, inputs = made(CASES["LeNet"], 2)
    stacked, labels = stacked_from(models), torch.randint(0, 10, (2, 7))
    losses = F.cross_entropy(stacked(inputs).transpose(1, 2), labels, reduction="none").mean(1)
    losses.sum().backward()
    for member, model in enumerate(models):
        F.cross_entropy(model(inputs[member]), labels[member]).backward()
        for one, parameter in zip(stacked.parameters(), model.parameters(), strict=True):
            assert one.grad is not None
            assert parameter.grad is not None
            close(one.grad[member], parameter.grad, 1e-9)
