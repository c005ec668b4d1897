"""Train by a program that does not import evodevo.

    evodevo launch examples/program.yaml

It takes hyperparameters as flags, reads and writes a checkpoint, and prints its figure of merit last.
"""

import argparse
import json
import random
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float)
parser.add_argument("--heavy-ball", action="store_true")
parser.add_argument("--resume", default="")
parser.add_argument("--save", required=True)
parser.add_argument("--seed", type=int)
options = parser.parse_args()

random.seed(options.seed)
state = {"x": 4.0, "velocity": 0.0}
if options.resume:
    state = json.loads(Path(options.resume, "state.json").read_text())
for _ in range(10):  # minimise (x - 1)^2 by noisy gradients
    gradient = 2 * (state["x"] - 1) + random.gauss(0, 0.3)
    state["velocity"] = (0.8 * state["velocity"] if options.heavy_ball else 0.0) - options.rate * gradient
    state["x"] += state["velocity"]

Path(options.save).mkdir()  # a checkpoint may be a file or a directory
Path(options.save, "state.json").write_text(json.dumps(state))
print(f"FoM: {(state['x'] - 1) ** 2}")
