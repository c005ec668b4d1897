"""Report the progress of a search without generations."""

from evodevo.run.history import History


class Chunks:
    """Prints a line for every `size` points that are done."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._told = 0

    def tell(self, history: History) -> None:
        done, search = len(history.over), history.config.search
        total = search.population * search.generations
        if done - self._told >= self._size or (done == total and self._told < total):
            self._told = done
            best = (
                f", best fom {history.best.fom:.4e}" if history.best and history.best.fom is not None else ""
            )
            print(f"Completed {done}/{total} ({done / total:.2%}) points{best}", flush=True)
