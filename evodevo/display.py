"""Display runs: live on a terminal, as plain lines elsewhere, and in tables."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from evodevo.config import RunConfig
from evodevo.config_search import Search
from evodevo.harmless import harmless
from evodevo.run.view import AT_WORK, Status, brief, idleness, remark, troubles


def show(statuses: Iterable[Status], dashboard: str | None, console: Console, quiet: bool = False) -> Status:
    """Show each status as it arrives; return the last one."""
    last = None
    if console.is_terminal and not quiet:
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            for last in statuses:
                live.update(_display(last, dashboard))
    else:
        said: tuple[object, ...] = ()
        unused = 0
        if dashboard and not quiet:
            console.print(f"dashboard: {dashboard}", soft_wrap=True)
        for last in statuses:
            if unused != (unused := last.unused_workers or 0 if last.workers else 0) and unused and not quiet:
                console.print(_idleness(last), soft_wrap=True)
            if said != (said := (last.generation, last.legs_done, last.state)) and not quiet:
                console.print(line(last), soft_wrap=True)
    assert last is not None
    return last


def show_all(
    rounds: Iterable[list[Status]], total: int, dashboard: str | None, console: Console, quiet: bool = False
) -> list[Status]:
    """Show the statuses of `total` runs as they arrive; return the last ones."""
    last: list[Status] = []
    if console.is_terminal and not quiet:
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            for last in rounds:
                live.update(_display_all(last, total, dashboard))
    else:
        over: set[str] = set()
        if dashboard and not quiet:
            console.print(f"dashboard: {dashboard}", soft_wrap=True)
        for last in rounds:
            for status in last:
                if status.state not in AT_WORK and status.name not in over and not quiet:
                    over.add(status.name)
                    said = f"{len(over)}/{total} {line(status)}"
                    console.print(said, soft_wrap=True)
    return last


def line(status: Status) -> str:
    """Return a run's status in one line."""
    parts = [f"{status.name}: {status.state}", _progress(status)]
    if status.best_fom is not None:
        parts.append(f"best {status.metric} {status.best_fom:.6g} ({status.best_member})")
    if status.median_fom is not None:
        parts.append(f"median {status.median_fom:.6g}")
    parts += troubles(status)
    parts.append(_time(status))
    if status.message:
        parts.append(brief(status.message))
    return ", ".join(parts)


def _progress(status: Status) -> str:
    if status.legs > 1:
        return f"leg {status.legs_done} of at most {status.legs}"
    return f"generation {status.generation}/{status.generations}"


def _display(status: Status, dashboard: str | None) -> Group:
    table = Table.grid(padding=(0, 2))
    workers = "" if status.workers is None else f" on {status.workers} workers"
    table.add_row(Text(harmless(status.name), "bold"), f"{status.state}{workers}, {_time(status)}")
    if status.legs > 1:
        table.add_row("legs", _bar(status.legs_done, status.legs))
    else:
        table.add_row("generation", _bar(status.generation, status.generations))
    if status.population > 1:
        table.add_row("members", _bar(status.members_done, status.population))
    if status.best_fom is not None:
        best = f"{status.best_fom:.6g}"
        whose = harmless(f" {status.metric} ({status.best_member})")
        table.add_row("best", Text.assemble((best, "bold green"), whose))
    if status.median_fom is not None:
        table.add_row("median", f"{status.median_fom:.6g}")
    if found := troubles(status):
        table.add_row("trouble", ", ".join(found))
    if status.workers and status.unused_workers:
        table.add_row("idle", Text(harmless(_idleness(status))))
    if dashboard:
        table.add_row("dashboard", dashboard)
    return Group(table, *([Text(harmless(status.message))] if status.message else []))


def _idleness(status: Status) -> str:
    return idleness(status.unused_workers, status.unused_why)


def _display_all(statuses: list[Status], total: int, dashboard: str | None) -> Group:
    """Return a display of the number of finished runs and a table of the others."""
    at_work = [one for one in statuses if one.state in AT_WORK]
    head = Table.grid(padding=(0, 2))
    head.add_row("runs", _bar(len(statuses) - len(at_work), total))
    if dashboard:
        head.add_row("dashboard", dashboard)
    return Group(head, status_table(at_work))


def _bar(done: int, total: int) -> Table:
    row = Table.grid(padding=(0, 1))
    row.add_row(ProgressBar(total=total, completed=done, width=30), f"{done}/{total}")
    return row


def _time(status: Status) -> str:
    left = f", about {_clock(status.remaining_s)} left" if status.remaining_s is not None else ""
    return f"{_clock(status.elapsed_s)} elapsed{left}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def rows(title: str, pairs: Iterable[tuple[str, str]]) -> Table:
    """Return a table of labels and values."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2))
    for pair in pairs:
        table.add_row(*(Text(harmless(cell)) for cell in pair))
    return table


def table(headings: Sequence[str], cells: Iterable[Sequence[str]]) -> Table:
    """Return a table with headings, whose cells wrap instead of being truncated."""
    found = Table(box=None, padding=(0, 2))
    for heading in headings:
        found.add_column(heading, overflow="fold")
    for row in cells:
        found.add_row(*(Text(harmless(cell)) for cell in row))
    return found


def status_table(statuses: Iterable[Status]) -> Table:
    """Return a table with one row per run."""
    table = Table(box=None, padding=(0, 2))
    for heading in ("run", "state", "generation", "best", "median", "failed", "diverged"):
        table.add_column(heading, no_wrap=True)
    table.add_column("message")
    for one in statuses:
        foms = [f"{fom:.6g}" if fom is not None else "" for fom in (one.best_fom, one.median_fom)]
        table.add_row(
            one.name,
            one.state,
            f"{one.generation}/{one.generations}",
            *foms,
            str(one.failed),
            str(one.diverged),
            Text(harmless(remark(one))),
        )
    return table


def unused_lines(general: Sequence[str], statuses: Iterable[Status]) -> list[str]:
    """Return a line per worker without work, naming the run if it gets work from other runs."""
    found = [f"no work for {why}" for why in general]
    for one in statuses:
        if one.state in AT_WORK:
            found += [f"no work from {one.name} for {why}" for why in one.unused_why if why not in general]
    return found


def _lengths(search: Search) -> str:
    """Return the length of a generation in words; empty for one epoch."""
    legs = f" x {search.legs} legs" if search.legs > 1 else ""
    if search.steps_per_generation is not None:
        return f"{legs} x {search.steps_per_generation} steps"
    lengths = [search.leg_epochs(generation) for generation in range(search.generations)]
    if (longest := max(lengths)) == 1:
        return legs
    shortest = min(lengths)
    return (
        f"{legs} x {longest} epochs" if shortest == longest else f"{legs} of {shortest} to {longest} epochs"
    )


def _amount(search: Search) -> str:
    """Return the maximum amount of training of a run, in words."""
    if search.steps_per_generation is not None:
        legs = search.population * search.generations * search.legs
        return f"{legs * search.steps_per_generation:,} steps"
    if search.phases is not None:  # not every lineage trains in each generation
        lives = search.population * search.generations
        return f"at most {lives * search.legs * search.leg_epochs(0):,} epochs"
    return f"{search.population * search.total_epochs:,} epochs"


def _life(search: Search) -> str:
    """Return the maximum training of a member from scratch, in words."""
    if search.steps_per_generation is not None:
        return f"{search.legs * search.steps_per_generation:,} steps"
    epochs = search.legs * search.leg_epochs(0)
    return f"{epochs:,} epoch{'' if epochs == 1 else 's'}"


def _averages(search: Search) -> str:
    """Return how averages of parameters are used, in words; empty if they are not."""
    found = []
    if (half_life := search.half_life) is not None:
        found.append(f"members are judged by them, half-life {half_life:g} epoch{'s' * (half_life != 1)}")
    if (first := search.recombining) is not None and first < search.generations:
        found.append(f"generations from {first + 1} on begin from means")
    if search.soup:
        found.append("a soup at the end")
    return "; ".join(found)


def _at_once(config: RunConfig, facts: Mapping[str, Any]) -> str:
    """Return how many members a worker trains at once, in words; empty for 1."""
    members = config.cluster.members_per_device
    if config.cluster.has_to_be_measured and "members" in facts:
        return str(facts["members"]["said"])
    if members == "auto":
        return "auto (measured on a worker before the run begins; on CPU 1)"
    return str(members) if members > 1 else ""


def plan(config: RunConfig, facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a config would do, as labels and values; `facts` are what a worker reported."""
    search = config.complete().search
    members = "1 member" if search.population == 1 else f"{search.population} members"
    scratch = "each trained from scratch"
    if search.population == 1 and not config.inherits:
        size = [("search", f"{search.strategy}, {search.generations:,} members, {scratch}")]
    elif not config.inherits:
        size = [
            ("search", f"{search.strategy}, {members} x {search.generations} generations"),
            ("", f"{scratch}, for {_life(search)} at the most"),
            ("pace", f"{search.pace}{f' of {search.pool}' if search.pool else ''}"),
        ]
    else:
        size = [
            ("search", f"{search.strategy}, {members} x {search.generations} generations{_lengths(search)}"),
            ("", f"= {_amount(search)}, all members together"),
            ("pace", f"{search.pace}{f' of {search.pool}' if search.pool else ''}"),
            *([("averages", averages)] if (averages := _averages(search)) else []),
        ]
    demes = [("demes", search.demes.text(search.population))] if search.demes else []
    immovable = config.strategy().immovable()
    evolving = [name for name, locus in search.loci.items() if locus.evolves and name not in immovable]
    return [
        ("run", f"{config.run.name}, seed {config.run.seed}"),
        ("workload", config.workload.use or str(config.workload.command)),
        *(("", fact) for fact in facts["facts"]),
        *(
            [("at once", f"members on each worker: {at_once}")]
            if (at_once := _at_once(config, facts))
            else []
        ),
        *(("start" if not at else "", fact) for at, fact in enumerate(facts.get("start", ()))),
        ("objective", f"{config.objective.mode} {config.objective.metric}, of {', '.join(facts['metrics'])}"),
        *([("target", config.objective.target.text())] if config.objective.target else []),
        *size,
        *demes,
        ("evolving", ", ".join(evolving) or "nothing"),
        *_grouped("can't evolve", immovable),
    ]


def _grouped(label: str, reasons: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return a row per reason with the names to which it applies; the first row has the label."""
    names = {why: [name for name, one in reasons.items() if one == why] for why in reasons.values()}
    lines = [f"{', '.join(those)}: {why}" for why, those in names.items()]
    return [(label if not at else "", line) for at, line in enumerate(lines)]
