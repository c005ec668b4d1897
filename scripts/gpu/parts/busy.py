"""Measure how busy the GPU is during a block: `with busy.watched() as gpu: ...`, then `gpu.facts()`."""

import contextlib
import statistics
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

EVERY_MS = 100
COMMAND = (
    *("nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits"),
    f"-lms={EVERY_MS}",
)


class Watch:
    """Samples of the driver's GPU utilization (percent of the time that kernels ran) and memory use (MiB)."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, float]] = []

    def take(self, line: str) -> None:
        """Add a line of nvidia-smi's output as a sample; ignore lines that are not a pair of numbers."""
        with contextlib.suppress(ValueError):
            utilization, memory = map(float, line.split(","))
            self._samples.append((utilization, memory))

    def facts(self) -> dict[str, Any]:
        """Return the mean utilization and the peak memory; an empty dict without samples."""
        if not self._samples:
            return {}
        utilizations, memories = zip(*self._samples, strict=True)
        return {"gpu_busy_%": round(statistics.fmean(utilizations), 1), "gpu_MiB": round(max(memories))}


@contextlib.contextmanager
def watched() -> Iterator[Watch]:
    """Sample the GPU within the block; without nvidia-smi there are no samples."""
    watch = Watch()
    try:
        process = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except OSError:
        yield watch
        return
    assert process.stdout is not None
    lines = process.stdout
    reader = threading.Thread(target=lambda: [watch.take(line) for line in lines], daemon=True)
    reader.start()
    try:
        yield watch
    finally:
        process.kill()
        process.wait()
        reader.join()
        lines.close()
