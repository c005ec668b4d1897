"""How busy the GPU is while something runs: `with busy.watched() as gpu: ...; gpu.facts()`."""

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
    """Samples of how much of the time kernels ran (percent, by the driver), and of memory in use (MiB)."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, float]] = []

    def take(self, line: str) -> None:
        """Take in a line that nvidia-smi has printed; what is no pair of numbers is not a sample."""
        with contextlib.suppress(ValueError):
            utilization, memory = map(float, line.split(","))
            self._samples.append((utilization, memory))

    def facts(self) -> dict[str, Any]:
        """Return the mean utilization and the most memory; nothing if there was no sample."""
        if not self._samples:
            return {}
        utilizations, memories = zip(*self._samples, strict=True)
        return {"gpu_busy_%": round(statistics.fmean(utilizations), 1), "gpu_MiB": round(max(memories))}


@contextlib.contextmanager
def watched() -> Iterator[Watch]:
    """Watch the GPU within the block; where there is no nvidia-smi nothing is seen."""
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
