"""What a child takes over from its parent's optimizer: by parameter name, with its own settings."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.workers import states
from workers import optimizers

GRADIENTS = {"a": [0.5, -1.0], "b": [2.0, 0.25], "c": [-0.75, 1.5]}
DOUBLE = torch.float64


class Three(nn.Module):
    """Three parameters of the same shape, so that nothing but their names tells them apart."""

    def __init__(self) -> None:
        super().__init__()
        for name in GRADIENTS:
            setattr(self, name, nn.Parameter(torch.ones(2, dtype=DOUBLE)))

    def named(self, names: str) -> list[Tensor]:
        return [getattr(self, name) for name in names]


def gradient(name: str, scale: float = 1.0) -> Tensor:
    return scale * torch.tensor(GRADIENTS[name], dtype=DOUBLE)


def step(model: Three, optimizer: Any, names: str, scale: float = 1.0, count: int = 1) -> None:
    for _ in range(count):
        for name in names:
            getattr(model, name).grad = gradient(name, scale)
        optimizer.step()


def child_of(
    parent: Three, parents: Any, optimizer_of: Any, given: Any = None
) -> tuple[Three, Any, list[str]]:
    """`given`: the parent's member as it was before training."""
    model = Three()
    optimizer = optimizer_of(model)
    data = states.encode(parent, parents) if given is None else states.state.encode(given)
    return model, optimizer, states.restore(data, model, optimizer)


def member(names: str, make: Any) -> tuple[Three, Any, Any]:
    """A model, its optimizer, and both as a member whose settings count as given now."""
    model = Three()
    optimizer = make(model.named(names))
    return model, optimizer, states.training_of(model, optimizer)


def test_after_a_freeze_each_layer_has_its_own_momentum_and_not_its_neighbours() -> None:
    parent, parents, about = member("abc", lambda p: torch.optim.SGD(p, 0.1, momentum=0.9))
    step(parent, parents, "abc", count=2)
    child, optimizer, notes = child_of(
        parent, parents, lambda model: torch.optim.SGD(model.named("bc"), 0.5, momentum=0.8), about
    )
    assert notes == ["optimizer: the state of a is dropped: not trained here"]
    before = {name: getattr(child, name).detach().clone() for name in "abc"}
    step(child, optimizer, "bc", scale=2.0)
    for name in "bc":  # v = 0.9 g + g after two steps; then 0.8 v + 2 g
        velocity = 0.8 * (1.9 * gradient(name)) + 2 * gradient(name)
        torch.testing.assert_close(getattr(child, name).data, before[name] - 0.5 * velocity)
    assert torch.equal(child.a, before["a"])


def test_a_layer_that_is_trained_again_starts_anew_and_the_others_go_on() -> None:
    parent, parents, about = member("bc", lambda p: torch.optim.Adam(p, 0.1))
    step(parent, parents, "bc", count=3)
    child, optimizer, notes = child_of(
        parent, parents, lambda model: torch.optim.Adam(model.named("abc"), 0.1), about
    )
    assert notes == []
    step(child, optimizer, "abc")
    assert {name: int(optimizer.state[getattr(child, name)]["step"]) for name in "abc"} == {
        "a": 1,
        "b": 4,
        "c": 4,
    }


def test_another_order_and_other_groups_do_not_mix_the_moments_up() -> None:
    parent, parents, about = member("abc", lambda p: torch.optim.Adam(p, 0.1))
    step(parent, parents, "abc")
    groups: Any = lambda model: [{"params": model.named("c")}, {"params": model.named("ba"), "lr": 0.7}]  # noqa: E731
    child, optimizer, notes = child_of(
        parent, parents, lambda model: torch.optim.Adam(groups(model), 0.3), about
    )
    assert notes == []
    for name in "abc":  # (1 - beta1) g
        moment = optimizer.state[getattr(child, name)]["exp_avg"]
        torch.testing.assert_close(moment, 0.1 * gradient(name))
    assert [group["lr"] for group in optimizer.param_groups] == [0.3, 0.7]


@pytest.mark.parametrize(
    ("before", "after", "made"),
    [
        ({"amsgrad": False}, {"amsgrad": True}, {"max_exp_avg_sq"}),
        ({"amsgrad": True}, {"amsgrad": False}, set()),
        ({"weight_decay": 0.0}, {"weight_decay": 0.1}, set()),
    ],
    ids=str,
)
def test_adam_continues_when_amsgrad_is_switched(
    before: dict[str, Any], after: dict[str, Any], made: set[str]
) -> None:
    parent, parents, about = member("ab", lambda p: torch.optim.Adam(p, 0.1, **before))
    step(parent, parents, "ab", count=2)
    child, optimizer, notes = child_of(
        parent, parents, lambda model: torch.optim.Adam(model.named("ab"), 0.1, **after), about
    )
    assert notes == []
    for name in "ab":
        state, parents_state = optimizer.state[getattr(child, name)], parents.state[getattr(parent, name)]
        assert state.keys() == {"step", "exp_avg", "exp_avg_sq"} | made
        assert int(state["step"]) == 2
        assert torch.equal(state["exp_avg"], parents_state["exp_avg"])
        assert torch.equal(state["exp_avg_sq"], parents_state["exp_avg_sq"])
        assert all(not state[key].any() for key in made)
    step(child, optimizer, "ab")


@pytest.mark.parametrize("first", [0.0, 0.9])
def test_rmsprop_gets_and_loses_its_momentum(first: float) -> None:
    parent, parents, about = member("a", lambda p: torch.optim.RMSprop(p, 0.1, momentum=first))
    step(parent, parents, "a", count=2)
    child, optimizer, notes = child_of(
        parent, parents, lambda model: torch.optim.RMSprop(model.named("a"), 0.1, momentum=0.9 - first), about
    )
    assert notes == []
    step(child, optimizer, "a")
    square = 0.99 * (0.99 * 0.01 + 0.01) * gradient("a") ** 2 + 0.01 * gradient("a") ** 2
    torch.testing.assert_close(optimizer.state[child.a]["square_avg"], square)
    assert ("momentum_buffer" in optimizer.state[child.a]) == (first == 0.0)


class AtOnce(torch.optim.Optimizer):
    """Makes its state before its first step, as Adagrad does; another rule may ask for more of it."""

    def __init__(self, params: Any, lr: float, start: float = 0.0, signs: bool = False) -> None:
        super().__init__(params, {"lr": lr, "start": start, "signs": signs})
        for p in self.param_groups[0]["params"]:
            self.state[p]["sum"] = torch.full_like(p, start)
            if signs:
                self.state[p]["signs"] = torch.zeros_like(p)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["sum"] += p.grad**2
                if group["signs"]:
                    self.state[p]["signs"] += p.grad.sign()
                p -= group["lr"] * p.grad / self.state[p]["sum"].sqrt()


def test_an_optimizer_that_makes_its_state_at_once_keeps_it_where_nothing_is_inherited() -> None:
    parent, parents, about = member("b", lambda p: AtOnce(p, 0.1))
    step(parent, parents, "b", count=2)
    child, optimizer, notes = child_of(
        parent, parents, lambda model: AtOnce(model.named("ab"), 0.1, start=0.5, signs=True), about
    )
    assert notes == []
    step(child, optimizer, "ab")
    torch.testing.assert_close(optimizer.state[child.a]["sum"], 0.5 + gradient("a") ** 2)
    torch.testing.assert_close(optimizer.state[child.b]["sum"], 3 * gradient("b") ** 2)
    assert torch.equal(optimizer.state[child.b]["signs"], gradient("b").sign())


def test_a_setting_that_training_changed_is_inherited_and_one_that_it_did_not_is_the_childs_own() -> None:
    parent, parents, about = member("a", lambda p: torch.optim.SGD(p, 0.1, momentum=0.9))
    parents.param_groups[0]["d"] = 0.25  # as an adaptive optimizer keeps its estimate
    step(parent, parents, "a")
    _, optimizer, _ = child_of(
        parent, parents, lambda model: torch.optim.SGD(model.named("a"), 0.4, momentum=0.5), about
    )
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["d"]) == (0.4, 0.5, 0.25)


def test_a_learning_rate_that_was_lowered_to_a_tenth_is_a_tenth_of_the_childs_own() -> None:
    parent, parents, about = member("a", lambda p: torch.optim.SGD(p, 0.1))
    parents.param_groups[0]["lr"] = 0.01
    step(parent, parents, "a")
    _, optimizer, _ = child_of(parent, parents, lambda model: torch.optim.SGD(model.named("a"), 0.4), about)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.04, rel=1e-12)
    _, same, _ = child_of(parent, parents, lambda model: torch.optim.SGD(model.named("a"), 0.1), about)
    assert same.param_groups[0]["lr"] == 0.01


def test_another_kind_of_optimizer_starts_anew_where_the_learning_rate_has_come_to() -> None:
    parent, parents, about = member("a", lambda p: torch.optim.SGD(p, 0.1, momentum=0.9))
    parents.param_groups[0].update({"lr": 0.05, "momentum": 0.1})
    step(parent, parents, "a")
    _, optimizer, notes = child_of(
        parent, parents, lambda model: torch.optim.Adam(model.named("a"), 0.4), about
    )
    assert notes == ["optimizer: the state of SGD is of no use to Adam, which starts anew"]
    assert not optimizer.state
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.2)
    assert "momentum" not in optimizer.param_groups[0]


def test_more_or_fewer_groups_take_over_from_those_that_share_their_parameters() -> None:
    parent, parents, about = member(
        "abc", lambda p: torch.optim.SGD([{"params": p[:1], "lr": 0.1}, {"params": p[1:], "lr": 0.2}])
    )
    parents.param_groups[0]["lr"] *= 0.5
    parents.param_groups[1]["lr"] *= 0.25
    step(parent, parents, "abc")
    _, one, _ = child_of(parent, parents, lambda model: torch.optim.SGD(model.named("cb"), 0.8), about)
    assert one.param_groups[0]["lr"] == pytest.approx(0.2)
    _, three, _ = child_of(
        parent,
        parents,
        lambda model: torch.optim.SGD([{"params": [p], "lr": 0.8} for p in model.named("abc")]),
        about,
    )
    assert [group["lr"] for group in three.param_groups] == pytest.approx([0.4, 0.2, 0.2])


class Rich(torch.optim.Optimizer):
    """Its state has texts, doubles in lists, and what else torch's own `load_state_dict` would change."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for p in self.param_groups[0]["params"]:
            state = self.state[p]
            if not state:
                state |= {"phase": "warm", "raw": b"\0", "sums": [torch.zeros(1, dtype=DOUBLE), (1, 2.5)]}
                state["inside"] = {"count": 0, "exact": torch.zeros(1, dtype=DOUBLE)}
            state["inside"]["count"] += 1
            state["sums"][0] += p.grad.double().sum() / 3
            state["inside"]["exact"] += 1e-9
            p -= self.param_groups[0]["lr"] * p.grad


def assert_same(found: Any, wanted: Any) -> None:
    assert type(found) is type(wanted)
    if isinstance(wanted, Tensor):
        assert found.dtype == wanted.dtype
        assert torch.equal(found, wanted)
    elif isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for key in wanted:
            assert_same(found[key], wanted[key])
    elif isinstance(wanted, list | tuple):
        for one, two in zip(found, wanted, strict=True):
            assert_same(one, two)
    else:
        assert found == wanted


def test_whatever_an_optimizer_keeps_for_a_float32_parameter_comes_back_with_its_types() -> None:
    model, copied = nn.Linear(2, 1), nn.Linear(2, 1)
    optimizer, other = Rich(model.parameters(), 0.1), Rich(copied.parameters(), 0.1)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert states.restore(states.encode(model, optimizer), copied, other) == []
    for one, two in zip(copied.parameters(), model.parameters(), strict=True):
        assert_same(other.state[one], optimizer.state[two])


def test_lbfgs_starts_anew_with_other_parameters_or_another_length_of_history() -> None:
    def closure_of(model: Three, optimizer: Any) -> Any:
        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = sum(((getattr(model, name) - 3) ** 2 * (1 + gradient(name) ** 2)).sum() for name in "ab")
            assert isinstance(loss, Tensor)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        return closure

    parent, parents, about = member("ab", lambda p: torch.optim.LBFGS(p, 0.1, max_iter=3, history_size=3))
    for _ in range(3):
        parents.step(closure_of(parent, parents))
    for names, history, noted in (
        ("ab", 3, []),
        ("ab", 5, ["other settings"]),
        ("a", 3, ["kept with others"]),
    ):
        child, optimizer, notes = child_of(
            parent,
            parents,
            lambda model, names=names, history=history: torch.optim.LBFGS(
                model.named(names), 0.1, max_iter=3, history_size=history
            ),
            about,
        )
        assert [part in note for part, note in zip(noted, notes, strict=True)] == [True] * len(noted)
        assert bool(optimizer.state) == (noted == [])
        optimizer.step(closure_of(child, optimizer))


class Wrapping(torch.optim.SGD):
    """Its `state_dict` has a custom format, by position."""

    def state_dict(self) -> Any:
        return {"own": [self.state[p].get("momentum_buffer") for p in self.param_groups[0]["params"]]}

    def load_state_dict(self, state: Any) -> None:
        for p, value in zip(self.param_groups[0]["params"], state["own"], strict=True):
            self.state[p]["momentum_buffer"] = value
        self.param_groups[0]["lr"] = 99.0


def test_a_state_by_position_is_taken_over_by_the_same_parameters_only() -> None:
    parent, parents, about = member("ab", lambda p: Wrapping(p, 0.1, momentum=0.9))
    step(parent, parents, "ab", count=2)
    parents.param_groups[0]["lr"] = 0.05
    child, optimizer, notes = child_of(
        parent, parents, lambda model: Wrapping(model.named("ab"), 0.4, momentum=0.9), about
    )
    assert notes == []
    torch.testing.assert_close(optimizer.state[child.b]["momentum_buffer"], 1.9 * gradient("b"))
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.2)
    child, optimizer, notes = child_of(
        parent, parents, lambda model: Wrapping(model.named("bc"), 0.4, momentum=0.9), about
    )
    assert notes == ["optimizer: the state is dropped, as other parameters are trained here"]
    assert not optimizer.state
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.2)


def test_notes_of_one_reason_are_one() -> None:
    class Many(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.all = nn.ParameterList([nn.Parameter(torch.ones(1)) for _ in range(9)])

    parent, child = Many(), Many()
    parents = torch.optim.Adam(parent.parameters(), 0.1)
    for p in parent.parameters():
        p.grad = torch.ones(1)
    parents.step()
    notes = states.restore(states.encode(parent, parents), child, torch.optim.Adam([child.all[8]], 0.1))
    assert notes == ["optimizer: the state of all.0 and 7 more is dropped: not trained here"]


def test_finding_out_what_an_optimizer_keeps_changes_neither_it_nor_a_parameter() -> None:
    calls: list[int] = []
    model = Three()
    optimizer = torch.optim.Adam(model.named("a"), 0.1, amsgrad=True, weight_decay=0.3)
    optimizer.register_step_pre_hook(lambda *_: calls.append(1))
    before = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    state = optimizers._fresh_state(optimizer, model.a, optimizer.param_groups[0])
    assert state is not None
    assert state.keys() == {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"}
    assert not calls
    assert torch.equal(model.a, before[0]["a"])
    assert optimizer.state_dict() == before[1]
