"""Train and evaluate LeNet in a plain loop, without service, parents or checkpoints; used by efficiency.py.

    python bare_lenet.py EPOCHS CONFIG.yaml

Print a line once the data are loaded, wait for a line on standard input, then train and print the seconds of
training and of evaluation as JSON. The process has the settings that `workers.preload` gives a worker.
"""

import json
import sys
import time

import torch

from evodevo.config_file import load
from workers import preload
from workers.workloads.lenet import LeNet


def main() -> None:
    legs, config = int(sys.argv[1]), load(sys.argv[2])
    preload._keep_freed_memory()
    torch.set_deterministic_debug_mode("warn")
    torch.set_num_threads(config.cluster.threads_per_member)
    workload = LeNet(**config.workload.options)
    workload.prepare(torch.device("cpu"), None)
    space = config.space()
    hyperparameters = space.express(space.given())
    print("ready", flush=True)
    sys.stdin.readline()
    train_s = eval_s = 0.0
    for seed in range(legs):
        training = workload.begin(hyperparameters, seed, None)
        began = time.monotonic()
        for _ in range(config.search.epochs_per_generation):
            for _ in workload.train(training):
                pass
        trained = time.monotonic()
        workload.evaluate(training, "validation")
        train_s += trained - began
        eval_s += time.monotonic() - trained
    print(json.dumps({"train_s": train_s, "eval_s": eval_s}))


if __name__ == "__main__":
    main()
