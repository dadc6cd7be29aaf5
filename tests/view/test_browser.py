"""The page in a real browser: it sorts, filters, pages, explains the heat map, and asks the network for nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from overlap.report import Results, render_page
from tests.view.browser import browsing, chromium, requests
from tests.view.frames import simulated

pytestmark = pytest.mark.skipif(
    chromium() is None, reason="no Chromium with its driver (apt-get install chromium chromium-driver)"
)


@pytest.fixture(scope="module")
def results() -> Results:
    return simulated(300, images=200)


@pytest.fixture(scope="module")
def page(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_page(results), encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=[(1200, False), (390, True)], ids=["desk, light", "telephone, dark"])
def browser(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    width, dark = request.param
    with browsing(tmp_path_factory.mktemp("profile"), width=width, dark=dark) as driver:
        yield driver


@pytest.fixture
def driver(browser: Any, page: Path) -> Iterator[Any]:
    """The freshly opened page; what the console and the network say in the meantime is part of every test."""
    browser.get("about:blank")
    requests(browser)
    browser.get(page.as_uri())
    until = time.monotonic() + 20
    while not browser.execute_script("return document.documentElement.dataset.ready"):
        assert time.monotonic() < until, browser.get_log("browser")
        time.sleep(0.05)
    yield browser
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    own = ("data:", "blob:", "chrome:")  # the browser's first empty tab has addresses of its own
    assert [url for url in requests(browser) if not url.startswith(own)] == [page.as_uri()]


def column(driver: Any, table: str, name: str) -> list[str]:
    return driver.execute_script(
        """
        const grid = document.querySelector(`[data-table=${arguments[0]}]`);
        const heads = [...grid.querySelectorAll("th button")].map((one) => one.dataset.column);
        const place = heads.indexOf(arguments[1]);
        return [...grid.querySelectorAll("tbody tr")].map((row) => row.cells[place].textContent);
        """,
        table,
        name,
    )


def numbers(driver: Any, table: str, name: str) -> list[float]:
    return [float(text.replace("−", "-")) for text in column(driver, table, name)]


def close(values: list[float] | float) -> Any:
    return pytest.approx(values, abs=6e-5)  # four decimals are shown


def type_filter(driver: Any, table: str, text: str) -> tuple[str, float]:
    """The count that is then shown, and the milliseconds the script took."""
    return tuple(
        driver.execute_script(
            """
            const input = document.querySelector(`[data-table=${arguments[0]}] input`);
            input.value = arguments[1];
            const begun = performance.now();
            input.dispatchEvent(new Event("input"));
            const took = performance.now() - begun;
            return [input.parentNode.querySelector("output").textContent, took];
            """,
            table,
            text,
        )
    )


def click(driver: Any, table: str, name: str) -> None:
    button = driver.find_element("css selector", f"[data-table={table}] [data-column={name}]")
    driver.execute_script(
        "arguments[0].scrollIntoView({block: 'center', inline: 'center', behavior: 'instant'})", button
    )
    button.click()


def test_headers_sort(driver: Any, results: Results) -> None:
    by_kappa = results.pairs.sort("kappa")["kappa"]
    assert numbers(driver, "pairs", "kappa") == close(by_kappa.head(20).to_list())
    click(driver, "pairs", "kappa")
    assert numbers(driver, "pairs", "kappa") == close(by_kappa.reverse().head(20).to_list())
    click(driver, "pairs", "model_b")
    assert column(driver, "pairs", "model_b") == results.pairs["model_b"].sort().head(20).to_list()
    sorts = driver.find_elements("css selector", "[data-table=pairs] th[aria-sort]")
    assert [(one.get_attribute("aria-sort"), one.text.split()[0]) for one in sorts] == [("ascending", "model")]


def test_filters_narrow_quickly_and_say_what_they_do_not_understand(driver: Any, results: Results) -> None:
    pairs = results.pairs
    expected = pairs.filter(
        (pairs["model_a"].str.contains("vit") | pairs["model_b"].str.contains("vit"))
        & (pairs["kappa"].round(5) < 0.3)
        & (pairs["category"] == "dataset")
    )
    assert 0 < expected.height < pairs.height
    count, took = type_filter(driver, "pairs", "VIT kappa<0.3 category=dataset")
    assert count == f"{expected.height:,} of {pairs.height:,} rows"
    assert took < 1000, "45,000 pairs must answer at once, even on two busy cores"
    assert set(column(driver, "pairs", "category")) == {"dataset"}
    count, _ = type_filter(driver, "pairs", "kapa<0.3")
    assert count == "no column kapa"
    count, _ = type_filter(driver, "pairs", "nobody-is-called-this")
    assert count == f"0 of {pairs.height:,} rows"
    count, _ = type_filter(driver, "pairs", "")
    assert count == f"{pairs.height:,} rows"


def test_pages_turn_and_all_columns_can_be_had(driver: Any, results: Results) -> None:
    by_kappa = results.pairs.sort("kappa")["kappa"].to_list()
    driver.execute_script("document.querySelector('[data-table=pairs] .pager button:nth-of-type(2)').click()")
    assert numbers(driver, "pairs", "kappa") == close(by_kappa[20:40])
    driver.execute_script("document.querySelector('[data-table=pairs] .tools button').click()")
    heads = driver.execute_script(
        "return [...document.querySelectorAll('[data-table=pairs] th button')].map((one) => one.dataset.column)"
    )
    assert heads == results.pairs.columns


def test_the_heat_map_names_the_pair_under_the_pointer(driver: Any, results: Results) -> None:
    row = 10
    said = driver.execute_script(
        """
        const heat = JSON.parse(document.getElementById("heat").textContent)[0];
        const svg = document.querySelector("#figure-kappa svg");
        const frame = svg.getBoundingClientRect();
        const [left, top, width, height] = heat.box;
        const at = (place, start, size) => start + size * (place + 0.5) / heat.order.length;
        const x = frame.left + frame.width * at(200, left, width);
        const y = frame.top + frame.height * at(arguments[0], top, height);
        svg.dispatchEvent(new PointerEvent("pointermove", { clientX: x, clientY: y }));
        const tip = document.getElementById("tip");
        return [heat.order[arguments[0]], heat.order[200], tip.hidden, tip.textContent];
        """,
        row,
    )
    one, other, hidden, text = said
    first, second = sorted((one, other))
    kappa = results.pairs.filter((results.pairs["model_a"] == first) & (results.pairs["model_b"] == second))["kappa"][0]
    assert not hidden
    assert text.startswith(f"{one} and {other}")
    assert float(text.split("κ ")[1].split()[0].replace("−", "-")) == close(kappa)


def test_nothing_sticks_out_sideways_and_text_stands_off_its_ground(driver: Any) -> None:
    assert driver.execute_script("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    contrasts = driver.execute_script(
        """
        const light = (colour) => {
          const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((one) => one / 255)
            .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
          return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
        };
        const ground = light(getComputedStyle(document.documentElement).backgroundColor);
        const ratio = (one) => (Math.max(one, ground) + 0.05) / (Math.min(one, ground) + 0.05);
        const of = (selector, property) => [...document.querySelectorAll(selector)]
          .map((one) => ratio(light(getComputedStyle(one)[property])));
        return [...of("h1, h2, p, td, th, dt, dd, a, button, .reading", "color"), ...of(".drawing svg text", "fill")];
        """
    )
    assert len(contrasts) > 200
    assert min(contrasts) >= 4.5  # WCAG 2.2, contrast (minimum)
