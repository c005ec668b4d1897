"""Training without the compiler is the same training; tried in a new process, as it is about imports."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
import torch
from workers.eager import defer_compiler

def train(name):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2, bias=False)  # Muon takes matrices only
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.1)

    def loss():
        optimizer.zero_grad()
        found = model(torch.ones(1, 3)).square().sum()
        found.backward()
        return found

    for _ in range(3):
        optimizer.step(loss)
        assert torch.is_grad_enabled()
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.step(loss)
    return model.weight.tolist()

names = [name for name, one in vars(torch.optim).items() if isinstance(one, type)]
names = [name for name in names if name not in ("Optimizer", "SparseAdam")]
defer_compiler()
without = {name: train(name) for name in names}
print(len(names) > 10, "torch._dynamo" in sys.modules)
import torch._dynamo
print({name: train(name) for name in names} == without)
"""


def test_no_optimizer_of_torch_imports_the_compiler_and_all_do_the_same_once_it_is_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=REPOSITORY, capture_output=True, text=True, timeout=100
    )
    assert done.stdout.splitlines() == ["True False", "True"], done.stderr
