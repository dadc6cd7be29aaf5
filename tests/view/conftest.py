"""One large page and its browsers, for every test that looks at a page as a person does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from overlap.report import Results, render_page
from tests.view.across_frames import with_across
from tests.view.browser import browsing, requests
from tests.view.ensemble_frames import whole
from tests.view.news_frames import with_news


@pytest.fixture(scope="session")
def large() -> Results:
    return with_across(with_news(whole(300, 400, 1000)))


@pytest.fixture(scope="session")
def large_page(large: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_page(large), encoding="utf-8")
    return path


@pytest.fixture(scope="session", params=[(1200, False), (390, True)], ids=["desk, light", "telephone, dark"])
def browser(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    width, dark = request.param
    with browsing(tmp_path_factory.mktemp("profile"), width=width, dark=dark) as driver:
        yield driver


@pytest.fixture
def driver(browser: Any, large_page: Path) -> Iterator[Any]:
    """The freshly opened page; what the console and the network say in the meantime is part of every test."""
    browser.get("about:blank")
    requests(browser)
    browser.get(large_page.as_uri())
    until = time.monotonic() + 20
    while not browser.execute_script("return document.documentElement.dataset.ready"):
        assert time.monotonic() < until, browser.get_log("browser")
        time.sleep(0.05)
    yield browser
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    own = ("data:", "blob:", "chrome:")  # the browser's first empty tab has addresses of its own
    assert [url for url in requests(browser) if not url.startswith(own)] == [large_page.as_uri()]
