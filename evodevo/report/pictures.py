"""Draw the pictures of a run's report."""

from evodevo.report.demes_plot import demes_plot
from evodevo.report.evolution import evolve_plot
from evodevo.report.growth import progress_plot
from evodevo.report.pareto import differ_in_size, pareto_plot
from evodevo.report.plots import drawn, schedule_plot
from evodevo.run.files import Missing
from evodevo.run.history import History


def draw_all(history: History) -> dict[str, bytes | Missing]:
    """Return the pictures of a run as PNG by name, in the order of its page.

    The schedule is omitted for a run without generations, and if genomes grow, as it would have a panel for
    each locus of each block.
    """
    pictures = {"fom": drawn(lambda: progress_plot(history))}
    if history.in_generations and not history.config.search.phases:
        pictures["schedule"] = drawn(lambda: schedule_plot(history))
    if history.config.search.demes:
        pictures["demes"] = drawn(lambda: demes_plot(history))
    if not history.inherits and history.best:
        pictures["evolve"] = drawn(lambda: evolve_plot(history))
    if differ_in_size(history):
        pictures["pareto"] = drawn(lambda: pareto_plot(history))
    return pictures
