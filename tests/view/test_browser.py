"""The page in a real browser: it sorts, filters, pages, explains the heat map, and asks the network for nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from overlap.report import Results
from overlap.report.grids import GRIDS
from tests.view.browser import chromium, column, numbers, until

pytestmark = pytest.mark.skipif(
    chromium() is None, reason="no Chromium with its driver (apt-get install chromium chromium-driver)"
)


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


SPARE = next(grid.spare for grid in GRIDS if grid.name == "pairs")


def test_the_page_is_small_and_ready_soon(driver: Any, large_page: Path) -> None:
    assert large_page.stat().st_size < 10e6
    ready = driver.execute_script("return performance.getEntriesByName('ready')[0].startTime")
    assert ready < 15_000, "about a second on a quiet machine; this bound is for a very busy one"


def test_headers_sort(driver: Any, large: Results) -> None:
    by_kappa = large.pairs.sort("kappa")["kappa"]
    assert numbers(driver, "pairs", "kappa") == close(by_kappa.head(20).to_list())
    click(driver, "pairs", "kappa")
    assert numbers(driver, "pairs", "kappa") == close(by_kappa.reverse().head(20).to_list())
    click(driver, "pairs", "model_b")
    assert column(driver, "pairs", "model_b") == large.pairs["model_b"].sort().head(20).to_list()
    sorts = driver.find_elements("css selector", "[data-table=pairs] th[aria-sort]")
    assert [(one.get_attribute("aria-sort"), one.text.split()[0]) for one in sorts] == [("ascending", "model")]


def test_filters_narrow_quickly_and_say_what_they_do_not_understand(driver: Any, large: Results) -> None:
    pairs = large.pairs
    expected = pairs.filter(
        (pairs["model_a"].str.contains("vit") | pairs["model_b"].str.contains("vit"))
        & (pairs["kappa"].round(4) < 0.3)
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


def test_pages_turn_and_all_columns_can_be_had(driver: Any, large: Results) -> None:
    by_kappa = large.pairs.sort("kappa")["kappa"].to_list()
    driver.execute_script("document.querySelector('[data-table=pairs] .pager button:nth-of-type(2)').click()")
    assert numbers(driver, "pairs", "kappa") == close(by_kappa[20:40])
    driver.execute_script("document.querySelector('[data-table=pairs] .tools button').click()")
    heads = driver.execute_script(
        "return [...document.querySelectorAll('[data-table=pairs] th button')].map((one) => one.dataset.column)"
    )
    assert heads == [name for name in large.pairs.columns if name not in SPARE]
    said = driver.execute_script("return document.querySelector('[data-table=pairs] > .about:last-child').textContent")
    assert said == f"This page holds all columns but {', '.join(SPARE)}; the parquet table holds all."


def test_the_heat_map_names_the_pair_under_the_pointer(driver: Any, large: Results) -> None:
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
    kappa = large.pairs.filter((large.pairs["model_a"] == first) & (large.pairs["model_b"] == second))["kappa"][0]
    assert not hidden
    assert text.startswith(f"{one} and {other}")
    assert float(text.split("κ ")[1].split()[0].replace("−", "-")) == close(kappa)


def test_measures_are_chosen_and_folded_tables_unfold(driver: Any, large: Results) -> None:
    shown = (
        "[...document.querySelectorAll('.switch figure')].filter((one) => !one.hidden).map((one) => one.dataset.choice)"
    )
    until(driver, shown, ["EI and κ"])
    driver.execute_script("document.querySelectorAll('.choices button')[2].click()")
    until(driver, shown, ["probabilistic"])
    assert driver.execute_script("return document.querySelector('[data-table=class_scores] table')") is None
    driver.execute_script("document.querySelector('[data-table=class_scores] summary').click()")
    until(driver, "document.querySelector('[data-table=class_scores]').dataset.ready", "yes")
    top = large.table("class_scores").sort("score", descending=True)["score"].head(20)
    assert numbers(driver, "class_scores", "score") == close(top.to_list())
    said = driver.execute_script(
        "return document.querySelector('[data-table=class_scores] > .about:last-child').textContent"
    )
    assert "of 300,000 rows (those that are significant (q < 0.05) or the best of the zoo)" in said


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
        return [
          ...of("h1, h2, p, td, th, dt, dd, a, button, .reading, .mark", "color"), ...of(".drawing svg text", "fill"),
        ];
        """
    )
    assert len(contrasts) > 200
    assert min(contrasts) >= 4.5  # WCAG 2.2, contrast (minimum)
