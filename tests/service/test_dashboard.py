"""What `service.dashboard` takes from distributed without its promise, and what it makes of it."""

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from distributed import Scheduler
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPResponse

from evodevo.run.view import FileSource, View
from evodevo.service.gate import COOKIE, Gate
from tests.run.fakes import config_of
from tests.run.handmade import Pen

CHANGED = (
    "this version of distributed has changed its dashboard: see {} in distributed/dashboard, and make "
    "evodevo/service/dashboard.py do what distributed.dashboard.scheduler.connect does now"
)
Fetch = Callable[..., Awaitable[HTTPResponse]]


def test_distributed_still_has_what_the_page_is_hung_up_on() -> None:
    from distributed.dashboard import core, scheduler
    from distributed.dashboard.components import scheduler as components

    assert list(inspect.signature(core.BokehApplication).parameters) == [
        "applications",
        "server",
        "prefix",
        "template_variables",
    ], CHANGED.format("core.BokehApplication")
    assert "add_application(bokeh_app)" in inspect.getsource(scheduler.connect), CHANGED.format("connect")
    assert "extra" in inspect.signature(components.status_doc).parameters, CHANGED.format("status_doc")
    for template in ("simple.html", "base.html"):
        assert template in components.env.list_templates(), CHANGED.format(template)
    source, _, _ = components.env.loader.get_source(components.env, "base.html")
    for needed in ("block extra_resources", "for page in pages", 'class="content"'):
        assert needed in source, CHANGED.format("base.html")


def on_scheduler(
    runs_dir: Path, look: Callable[[Fetch], Awaitable[None]], *arguments: str, prefix: str = "/"
) -> None:
    """Start a scheduler with the service in this process; `look` is given what fetches from its dashboard."""

    async def go() -> None:
        async with Scheduler(
            host="127.0.0.1",
            port=0,
            dashboard_address="127.0.0.1:0",
            http_prefix=prefix,
            preload=["evodevo.service"],
            preload_argv=["--runs-dir", str(runs_dir), "--no-recover", *arguments],
        ) as scheduler:
            assert {"evodevo", "evodevo-page"} <= scheduler.plugins.keys(), CHANGED.format("connect")
            root = f"http://127.0.0.1:{scheduler.http_server.port}"

            def fetch(path: str, **options: object) -> Awaitable[HTTPResponse]:
                return AsyncHTTPClient().fetch(f"{root}/{path}", **options)  # type: ignore[arg-type]

            await look(fetch)

    asyncio.run(go())


def saved(runs_dir: Path) -> Path:
    pen = Pen(config_of(search__population=2))
    pen.generation(None, None, foms=(2.0, 1.0))
    pen.end("failed", "<b>why</b>")
    return pen.save(runs_dir / "small")


@pytest.mark.parametrize("prefix", ["/", "/some/where"])
def test_every_page_of_the_dashboard_links_to_the_page(prefix: str, tmp_path: Path) -> None:
    async def look(fetch: Fetch) -> None:
        for page in ("status", "evodevo"):
            text = (await fetch(f"{prefix.strip('/')}/{page}".lstrip("/"))).body.decode()
            assert text.count('<a href="evodevo">') == 1, CHANGED.format("template_variables")
        told = await fetch(f"{prefix.strip('/')}/evodevo/runs.json".lstrip("/"))
        assert json.loads(told.body) == []

    on_scheduler(tmp_path, look, prefix=prefix)


def test_a_second_scheduler_in_the_same_process_has_a_separate_page(tmp_path: Path) -> None:
    async def look(fetch: Fetch) -> None:
        assert (await fetch("evodevo")).body.decode().count('<a href="evodevo">') == 1
        assert b"evodevo_run_state" in (await fetch("metrics")).body

    for name in ("one", "two"):
        on_scheduler(tmp_path / name, look)


def test_runs_as_json_are_what_the_status_says(tmp_path: Path) -> None:
    expected = View("small", FileSource(saved(tmp_path))).refresh().to_json()
    expected |= {"workers": 0, "unused_workers": 0}

    async def look(fetch: Fetch) -> None:
        answer = await fetch("evodevo/runs.json")
        assert answer.headers["Content-Type"] == "application/json"
        assert json.loads(answer.body) == [expected]

    on_scheduler(tmp_path, look)


def test_gauges_have_the_facts_of_the_status(tmp_path: Path) -> None:
    saved(tmp_path)

    async def look(fetch: Fetch) -> None:
        await fetch("evodevo/runs.json")
        lines = (await fetch("metrics")).body.decode().splitlines()
        gauges = {line for line in lines if line.startswith("evodevo_run")}
        assert {
            'evodevo_run_state{run="small",state="failed"} 1.0',
            'evodevo_run_state{run="small",state="running"} 0.0',
            'evodevo_run_generation{run="small"} 1.0',
            'evodevo_run_best_fom{run="small"} 1.0',
            'evodevo_run_median_fom{run="small"} 1.5',
            'evodevo_run_failed_members{run="small"} 0.0',
            'evodevo_run_workers{run="small"} 0.0',
        } <= gauges

    on_scheduler(tmp_path, look)


async def refusal(fetch: Fetch, path: str, **options: object) -> tuple[int, str]:
    """The status and the line of a request that is refused."""
    with pytest.raises(HTTPClientError) as raised:
        await fetch(path, **{"method": "POST", **options})
    response = raised.value.response
    assert response is not None
    return raised.value.code, response.body.decode()


def test_without_a_token_there_is_nothing_that_cancels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVODEVO_PAGE_TOKEN", "")
    saved(tmp_path)

    async def look(fetch: Fetch) -> None:
        code, _ = await refusal(fetch, "evodevo/cancel?run=small", body="token=")
        assert code == 404

    on_scheduler(tmp_path, look)


def test_without_a_token_one_that_is_sent_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVODEVO_PAGE_TOKEN", "")
    saved(tmp_path)

    async def look(fetch: Fetch) -> None:
        await fetch("evodevo/runs.json", headers={"X-EvoDevo-Token": "sesame"})

    on_scheduler(tmp_path, look)


@pytest.mark.parametrize("from_environment", [False, True])
def test_with_a_token_only_who_knows_it_is_heard(
    from_environment: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path)
    if from_environment:
        monkeypatch.setenv("EVODEVO_PAGE_TOKEN", "sésame")

    async def look(fetch: Fetch) -> None:
        path = "evodevo/cancel?run=small"
        for body in ("", "token=", "token=Sesame", "token=s%C3%A9sam"):
            assert await refusal(fetch, path, body=body) == (403, "wrong token\n")
        assert (await refusal(fetch, path, body="", headers={"X-EvoDevo-Token": "x"}))[0] == 403
        heard = await refusal(fetch, path, body="token=s%C3%A9same")
        assert heard == (409, "run 'small' is not running: it is failed\n")

    token = tmp_path / "token"
    token.write_text("sésame\n")
    on_scheduler(tmp_path, look, *([] if from_environment else ["--page-token-file", str(token)]))


def test_who_guesses_tokens_is_heard_no_more_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    saved(tmp_path)
    monkeypatch.setenv("EVODEVO_PAGE_TOKEN", "sesame")

    async def look(fetch: Fetch) -> None:
        path = "evodevo/cancel?run=small"
        for guess in range(10):
            assert (await refusal(fetch, path, body=f"token={guess}"))[0] == 403
        for token in ("guess", "sesame"):
            said = (429, "too many wrong tokens; wait a minute\n")
            assert await refusal(fetch, path, body=f"token={token}") == said

    on_scheduler(tmp_path, look)
    assert caplog.text.count("wrong page token from") == 10


def test_wrong_tokens_are_forgotten_after_a_while() -> None:
    now = [0.0]
    gate = Gate("sesame", lambda: now[0])
    for at in range(10):
        now[0] = float(at)
        assert gate.hear("a guess", "somewhere") == "wrong"
    assert gate.hear("sesame", "somewhere") == "too many"
    now[0] = 60.1
    assert gate.hear("sesame", "somewhere") == "right"


def test_with_a_token_only_who_knows_it_sees_runs_and_a_browser_keeps_a_cookie_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path)
    monkeypatch.setenv("EVODEVO_PAGE_TOKEN", "sesame")

    async def look(fetch: Fetch) -> None:
        assert (await refusal(fetch, "evodevo/runs.json", method="GET"))[0] == 403
        await fetch("evodevo/runs.json", headers={"X-EvoDevo-Token": "sesame"})
        assert await refusal(fetch, "evodevo/enter", body="token=x") == (403, "wrong token\n")
        entered = await fetch("evodevo/enter", method="POST", body="token=sesame")
        cookie = entered.headers["Set-Cookie"]
        assert {"HttpOnly", "SameSite=Strict"} <= {part.strip() for part in cookie.split(";")}
        assert "sesame" not in cookie
        kept = {"Cookie": cookie.split(";")[0]}
        assert b'"small"' in (await fetch("evodevo/runs.json", headers=kept)).body
        assert await refusal(fetch, "evodevo/cancel?run=small", body="", headers=kept) == (
            409, "run 'small' is not running: it is failed\n"
        )  # fmt: skip
        page = (await fetch("evodevo")).body
        assert b"small" not in page
        false = {"Cookie": f"{COOKIE}=0000"}
        assert (await refusal(fetch, "evodevo/runs.json", method="GET", headers=false))[0] == 403

    on_scheduler(tmp_path, look)


def test_what_is_wrong_with_a_request_to_cancel_is_told_in_a_line_of_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path)

    async def look(fetch: Fetch) -> None:
        await fetch("evodevo/runs.json", headers={"X-EvoDevo-Token": "x"})

        async def told(query: str, **options: object) -> tuple[int, str]:
            return await refusal(fetch, f"evodevo/cancel{query}", **{"body": "token=x", **options})

        assert await told("?run=large") == (404, "run 'large' not found\n")
        assert await told("?run=<b>%0A../small") == (404, "run '<b>\\n../small' not found\n")
        for query in ("", "?run="):
            assert await told(query) == (400, "the run is missing: POST to evodevo/cancel?run=NAME\n")
        assert await told("?run=%ff") == (400, "400 Bad Request\n")
        assert await told("?run=small", body="token=%ff") == (400, "400 Bad Request\n")
        known = {"X-EvoDevo-Token": "x"}
        assert await told("?run=small", method="GET", body=None, headers=known) == (
            405, "405 Method Not Allowed\n"
        )  # fmt: skip

    monkeypatch.setenv("EVODEVO_PAGE_TOKEN", "x")
    on_scheduler(tmp_path, look)
