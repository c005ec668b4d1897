"""Print the mean and best fom of each generation of runs in which genomes grow, averaged over seeds.

    python scripts/bench/growth.py checkpoints/variable-length-small-*-s*

Runs whose names differ only in the seed at their end (`-s0`, `-s1`) belong to one arm. Phases and their
generations are counted from 0, as in the variable-length genetic algorithm's publication (arXiv 2006.12703).
"""

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from evodevo.errors import UsageError
from evodevo.report.comparison import mean_and_deviation
from evodevo.report.growth import means
from evodevo.report.standing import foms_by_generation
from evodevo.run.history import History, load_history
from evodevo.run.journal import JournalError
from evodevo.run.setup import JOURNAL
from evodevo.run.stopping import member_epochs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="directories of runs with search.phases")
    directories: list[Path] = parser.parse_args().runs
    arms: dict[str, list[History]] = {}
    for directory in directories:
        if not (directory / JOURNAL).exists():  # a comparison's own directory fits the same pattern
            continue
        try:
            history = load_history(directory / JOURNAL)
        except (JournalError, UsageError) as why:
            parser.error(f"{directory}: {why}")
        if history.config.search.phases is not None:
            arms.setdefault(re.sub(r"-s\d+$", "", directory.name), []).append(history)
    if not arms:
        parser.error("none of these is a run with search.phases")
    for line in lines_of(arms):
        print(line)


def lines_of(arms: Mapping[str, Sequence[History]]) -> Iterator[str]:
    """Yield the lines of the table, one per generation of each arm."""
    for arm, histories in arms.items():
        best = [history.best.fom for history in histories if history.best and history.best.fom is not None]
        spent = fmean(map(member_epochs, histories))
        yield f"{arm}: {len(histories)} runs, {spent:.0f} member-epochs, best {mean_and_deviation(best)}"
        yield f"  {'phase':>5} {'generation':>10} {'runs':>5} {'mean fom':>9} {'best fom':>9}"
        for (phase, generation), (mean, top) in sorted(rows_of(histories).items()):
            yield (f"  {phase:>5} {generation:>10} {len(mean):>5} {fmean(mean):>9.4f} {fmean(top):>9.4f}")


def rows_of(histories: Sequence[History]) -> dict[tuple[int, int], tuple[list[float], list[float]]]:
    """Return the mean and the best fom of each run, by phase and generation within it."""
    found: dict[tuple[int, int], tuple[list[float], list[float]]] = {}
    for history in histories:
        phases = history.config.search.phases
        assert phases is not None, "others are left out"
        foms = foms_by_generation(history)
        generations = [int(at) for at in foms["generation"]]
        for at, mean, best in zip(generations, means(history, generations), foms["best"], strict=True):
            own = found.setdefault((phases.at(at), at - phases.at(at) * phases.generations), ([], []))
            own[0].append(mean)
            own[1].append(best)
    return found


if __name__ == "__main__":
    main()
