"""Keep torch.optim from loading torch's compiler if nothing is compiled.

Methods of optimizers are decorated so that `torch.compile` leaves them alone, and the decorators import
torch._dynamo, with sympy and torch._inductor, at the first call: over a second of CPU time in every worker.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer, optimizer

Method = Callable[..., Any]


def defer_compiler() -> None:
    """Make the methods of torch's optimizers bypass torch._dynamo until something else has imported it.

    Nothing can be compiling before that. Decorators that this version of torch lacks are skipped.
    """
    defer = {
        _code_of(torch, "_disable_dynamo"): _plain_before,
        _code_of(optimizer, "_use_grad_for_differentiable"): _with_grad_mode_before,
    }
    optimizers = {one for one in vars(torch.optim).values() if isinstance(one, type)}
    for owner in optimizers:
        for name, method in list(vars(owner).items()):
            code = getattr(method, "__code__", None)
            if issubclass(owner, Optimizer) and code in defer and hasattr(method, "__wrapped__"):
                setattr(owner, name, defer[code](method))


def _code_of(module: Any, decorator: str) -> Any:
    """Return the code object shared by all functions that a decorator returns, to recognize them."""
    decorate = getattr(module, decorator, None)
    return decorate(lambda: None).__code__ if decorate else object()


def _plain_before(decorated: Any) -> Method:
    plain = decorated.__wrapped__

    @functools.wraps(plain)
    def method(*arguments: Any, **named: Any) -> Any:
        return (decorated if "torch._dynamo" in sys.modules else plain)(*arguments, **named)

    return method


def _with_grad_mode_before(decorated: Any) -> Method:
    plain = decorated.__wrapped__

    @functools.wraps(plain)
    def step(self: Optimizer, *arguments: Any, **named: Any) -> Any:
        if "torch._dynamo" in sys.modules:
            return decorated(self, *arguments, **named)
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return plain(self, *arguments, **named)

    return step
