"""The rows of `harness.fuzz`: the number of cases of each kind, and their batches."""

import json
from collections.abc import Callable, Sequence
from functools import partial

from harness.trials import Lab, Row, Trial

CASES = {"configs": 20_000, "journals": 1_000, "checkpoints": 1_000, "schedules": 1_000, "hyps": 1_000}
BATCH = 250
MOST_SHOWN = 5


def keys(kind: str, lab: Lab) -> Sequence[str]:
    first = lab.seed * CASES[kind]
    return [f"{at}/{at + BATCH}" for at in range(first, first + CASES[kind], BATCH)]


def batch(kind: str, lab: Lab, key: str) -> Trial:
    first, last = key.split("/")
    with lab.cluster(kind) as cluster:
        cases, out = cluster.directory / "cases", cluster.directory / "found.json"
        cases.mkdir()
        given = (kind, first, last, str(cases), str(lab.sample()), str(out))
        process = cluster.start("fuzz", *given, log="fuzz")
        assert process.wait(600) == 0, cluster.said("fuzz")
        found = json.loads(out.read_text())
    note = f"seeds {first} to {int(last) - 1}: {found['accepted']} accepted, {found['refused']} refused"
    if wrong := found["wrong"]:
        shown = [f"{seed}: {why}" for seed, why in list(wrong.items())[:MOST_SHOWN]]
        note += f"; {len(wrong)} wrong: {'; '.join(shown)}"
    return Trial(int(last) - int(first), not wrong, None, (), note)


def row(kind: str, fault: str, quick: int = 1) -> Row:
    trial: Callable[[Lab, str], Trial] = partial(batch, kind)
    return Row(f"fuzz-{kind}", fault, partial(keys, kind), trial, quick)


ROWS = (
    row("configs", "mutated configs: accepted or one message, within 2 s", quick=2),
    row("journals", "mutated journals with right checksums: the same"),
    row("checkpoints", "mutated checkpoints with right checksums: the same"),
    row("schedules", "mutated schedules: the same"),
    row("hyps", "mutated hyp.yaml files: the same"),
)
