"""The runs of a service as all who look see them together."""

import asyncio
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from evodevo.run.roster import Unused
from evodevo.run.setup import JOURNAL
from evodevo.service.standing import Standing
from evodevo.service.views import PATIENCE_S, Views
from tests.run.fakes import FakeClock, config_of
from tests.run.handmade import Pen


class House:
    """Stands in for a service: runs in a directory, of which some have a controller."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self.live: set[str] = set()
        self.workers, self.problems = 2, list[str]()
        self.unused_why: list[str] = []
        self.asked = 0

    async def until_ready(self) -> None:
        pass

    def standings(self, runs: Iterable[str]) -> dict[str, Standing]:
        self.asked += 1
        return {
            run: Standing(
                run in self.live, self.workers, self.problems, len(self.unused_why), self.unused_why
            )
            for run in runs
        }

    def unused(self) -> Unused:
        return Unused(len(self.unused_why), self.unused_why)


def pen(name: str = "small") -> Pen:
    written = Pen(config_of(run__name=name, search__population=2))
    written.generation(None, None, foms=(2.0, 1.0))
    return written


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def views_of(house: House, clock: Any = None) -> Views:
    service: Any = house
    return Views(service, clock) if clock else Views(service)


def test_runs_at_rest_and_at_work_are_seen_together(house: House) -> None:
    pen("old").save(house.runs_dir / "old")
    new = pen("new")
    new.save(house.runs_dir / "new")
    house.live.add("new")

    async def look() -> None:
        views = views_of(house)
        sight = await views.fresh()
        assert sight.whole
        assert {name: one.state for name, one in sight.statuses.items()} == {
            "old": "interrupted",
            "new": "running",
        }
        new.births(None, None)
        new.done(g001s000=0.5)
        new.save(house.runs_dir / "new")
        sight = await views.fresh()
        assert (sight.statuses["new"].members_done, sight.statuses["new"].best_fom) == (1, 0.5)
        await views.close()

    asyncio.run(look())


def test_a_run_whose_controller_leaves_is_read_on(house: House) -> None:
    one = pen()
    house.live.add("small")
    one.save(house.runs_dir / "small")

    async def look() -> None:
        views = views_of(house)
        assert (await views.fresh()).statuses["small"].state == "running"
        one.end("cancelled", "cancelled by a user")
        one.save(house.runs_dir / "small")
        house.live.clear()
        status = (await views.fresh()).statuses["small"]
        assert (status.state, status.message, status.generation) == ("cancelled", "cancelled by a user", 1)
        await views.close()

    asyncio.run(look())


def test_what_is_new_about_the_workers_is_told_without_reading_again(house: House) -> None:
    pen().save(house.runs_dir / "small")

    async def look() -> None:
        views = views_of(house)
        assert (await views.fresh()).statuses["small"].workers == 2
        journal = house.runs_dir / "small" / JOURNAL
        journal.write_bytes(b"?" * journal.stat().st_size)  # who reads it now, complains
        house.workers, house.problems = 0, ["worker a: no GPU"]
        house.unused_why = ["worker a: no GPU"]
        sight = await views.fresh()
        status = sight.statuses["small"]
        assert (status.workers, status.message) == (0, "worker a: no GPU")
        assert (status.unused_workers, status.unused_why) == (1, ["worker a: no GPU"])
        assert sight.unused == Unused(1, ["worker a: no GPU"])
        await views.close()

    asyncio.run(look())


def test_columns_that_did_not_change_stay_the_same_objects(house: House) -> None:
    one = pen()
    house.live.add("small")
    one.save(house.runs_dir / "small")

    async def look() -> None:
        views = views_of(house)
        views.look("small")
        before = (await views.fresh()).pictures["small"]
        one.lost("g000s000")
        one.controller()
        one.save(house.runs_dir / "small")
        after = before
        async with asyncio.timeout(30):  # pictures are made at a measured pace
            while after is before:
                after = (await views.fresh()).pictures["small"]
        changed = {name for name, data in after.columns.items() if data is not before.columns[name]}
        assert changed == {"failures"}
        await views.close()

    asyncio.run(look())


def test_only_runs_that_somebody_looks_at_have_pictures(house: House) -> None:
    for name in ("one", "two"):
        pen(name).save(house.runs_dir / name)

    async def look() -> None:
        views = views_of(house)
        views.look("two")
        assert (await views.fresh()).pictures.keys() == {"two"}
        await views.close()

    asyncio.run(look())


def test_a_damaged_journal_is_a_problem_of_its_run_alone(house: House) -> None:
    for name in ("good", "bad", "empty"):
        pen(name).save(house.runs_dir / name)
    journal = house.runs_dir / "bad" / JOURNAL
    journal.write_bytes(journal.read_bytes().replace(b"rate", b"late", 1))
    (house.runs_dir / "empty" / JOURNAL).write_bytes(b"")

    async def look() -> None:
        views = views_of(house)
        sight = await views.fresh()
        assert sight.statuses.keys() == {"good"}
        assert "damaged" in sight.problems["bad"]
        assert "is empty" in sight.problems["empty"]
        await views.close()

    asyncio.run(look())


def test_another_run_under_a_deleted_ones_name_is_another_run(house: House) -> None:
    pen().save(house.runs_dir / "small")

    async def look() -> None:
        views = views_of(house)
        assert (await views.fresh()).statuses["small"].generation == 1
        (house.runs_dir / "small").rename(house.runs_dir / ".away")
        another = Pen(config_of(search__generations=9))
        another.save(house.runs_dir / "small")
        status = (await views.fresh()).statuses["small"]
        assert (status.generation, status.generations) == (0, 9)
        shutil.rmtree(house.runs_dir / "small")
        assert (await views.fresh()).statuses == {}
        await views.close()

    asyncio.run(look())


def test_when_nobody_looks_any_more_nothing_is_read(house: House) -> None:
    clock = FakeClock()

    async def look() -> None:
        views = views_of(house, clock)
        await views.fresh()
        asked = house.asked
        clock.now += PATIENCE_S + 1
        views._due.set()
        await asyncio.sleep(0.1)
        assert house.asked <= asked + 1
        assert views._rounds is not None
        assert views._rounds.done()
        await views.fresh()
        assert house.asked > asked
        await views.close()

    asyncio.run(look())


def test_when_nobody_looks_any_more_no_history_is_kept_and_the_next_look_reads_it_again(house: House) -> None:
    written, clock = pen(), FakeClock()
    written.save(house.runs_dir / "small")
    house.live.add("small")

    async def look() -> None:
        views = views_of(house, clock)
        views.look("small")
        await views.fresh()
        assert views._seen["small"]._view is not None
        clock.now += PATIENCE_S + 1
        views._due.set()
        assert views._rounds is not None
        await asyncio.wait_for(views._rounds, 5)
        assert views._seen["small"]._view is None
        assert views._seen["small"].picture is None
        written.generation("g000s000", "g000s001", foms=(0.5, 0.75))
        written.save(house.runs_dir / "small")
        sight = await views.fresh()
        assert (sight.statuses["small"].generation, sight.statuses["small"].best_fom) == (2, 0.5)
        await views.close()

    asyncio.run(look())


def test_after_its_end_who_looks_sees_what_was_seen_last_and_nothing_is_read(house: House) -> None:
    pen().save(house.runs_dir / "small")

    async def look() -> None:
        views = views_of(house)
        last = await views.fresh()
        await views.close()
        asked = house.asked
        assert views.look("small") is last
        assert await asyncio.wait_for(views.fresh(), 5) is last
        assert house.asked == asked

    asyncio.run(look())
