"""Measure what a moving average of the parameters adds to an epoch's time and to a checkpoint's size.

    python scripts/bench/averaging.py [--runs 5] [--threads 1] [--batches 60] [--out averaging.jsonl]

Train LeNet on the packaged digits (batches of 50) and ResNet-20 on random images of CIFAR-10's size (batches
of 128) in this process, alternately with and without the average. Print the seconds of CPU time (which other
load affects little), the ratio of each pair, and the sizes of both checkpoints.
"""

import time

import torch
from measuring import Log, interleaved, parser_for, ratios, spread

from workers.training import Leg
from workers.workload import Splits, Workload
from workers.workloads.lenet import LeNet
from workers.workloads.resnet20 import ResNet20

HYPERPARAMETERS = {"learning_rate": 0.01, "momentum": 0.9, "weight_decay": 1e-4, "max_shift": 1}


class MadeImages(ResNet20):
    """ResNet-20 on random images: the time of an epoch does not depend on their content."""

    def data(self, root: str | None) -> Splits:
        images = torch.randint(0, 256, (4096, 3, 32, 32), dtype=torch.uint8)
        labels = torch.randint(0, 10, (4096,))
        return Splits((images, labels), (images[:100], labels[:100]))


def seconds_of(workload: Workload, averaged: bool, batches: int) -> tuple[float, int]:
    """Train `batches` batches; return the CPU seconds and the checkpoint's size in bytes."""
    leg = Leg(average_half_life=1.0 if averaged else None)
    training = workload.begin(HYPERPARAMETERS, 0, None, leg)
    done = 0
    began = 0.0
    while done <= batches:
        for _ in workload.train(training):
            if done == 0:
                began = time.process_time()  # the first batch is not counted
            done += 1
            if done > batches:
                break
    seconds = time.process_time() - began
    return seconds, len(workload.checkpoint(training))


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batches", type=int, default=60, help="batches to time (default: 60)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    log = Log(options.out, threads=options.threads, batches=options.batches)
    workloads: dict[str, Workload] = {"LeNet": LeNet(batch_size=50), "ResNet-20": MadeImages(batch_size=128)}
    for name, workload in workloads.items():
        workload.prepare(torch.device("cpu"), None)
        found: dict[bool, list[float]] = {False: [], True: []}
        sizes: dict[bool, int] = {}
        for run, averaged in interleaved((False, True), options.runs):
            seconds, sizes[averaged] = seconds_of(workload, averaged, options.batches)
            found[averaged].append(seconds)
            log.add(run=run, workload=name, averaged=averaged, seconds=seconds, bytes=sizes[averaged])
        print(f"\n{name}, {options.batches} batches, {options.runs} runs")
        print(f"  raw: {spread(found[False])} s, {sizes[False]:,} bytes")
        print(f"  averaged: {spread(found[True])} s, {sizes[True]:,} bytes")
        print(f"  averaged / raw: {spread(ratios(found[True], found[False]))}")


if __name__ == "__main__":
    main()
