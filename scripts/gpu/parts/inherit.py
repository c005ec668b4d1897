"""Check that members inherit checkpoints bit for bit: `inherit.py [WORKLOAD ...]`.

A member is trained for some steps and saved. A child that only loads the checkpoint must save the same bytes,
and two children trained from it for some steps must save the same bytes as each other.
"""

import sys
from itertools import islice
from typing import Any

import torch
from members import CONFIGS, config_of
from part import arguments, found

from workers.build import build
from workers.workload import Workload

STEPS = 20


def trained(
    workload: Workload, founder: dict[str, Any], seed: int, parent: bytes | None, steps: int
) -> bytes:
    """Return the checkpoint of a member after `steps` steps."""
    training = workload.begin(founder, seed, parent)
    epoch = workload.train(training)
    for _ in islice(epoch, steps):
        pass
    epoch.close()
    return workload.checkpoint(training)


def main() -> int:
    given = arguments(__doc__)
    failed = 0
    for name in given.names or list(CONFIGS):
        config = config_of(name, given.data, given.cpu)
        workload: Any = build(config.to_json()["workload"])
        device = torch.device("cpu" if given.cpu else "cuda")
        torch.set_deterministic_debug_mode("warn")
        workload.prepare(device, config.data.root)
        founder = config.space().express(config.space().given())
        parent = trained(workload, founder, 1, None, STEPS)
        loaded = workload.checkpoint(workload.begin(founder, 2, parent))
        again = workload.checkpoint(workload.begin(founder, 2, loaded))
        one, two = (trained(workload, founder, 3, parent, STEPS) for _ in range(2))
        facts = {"loads_as_it_was": loaded == again, "trains_on_alike": one == two}
        found(workload=name, device=device.type, bytes=len(parent), **facts)
        failed += not all(facts.values())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
