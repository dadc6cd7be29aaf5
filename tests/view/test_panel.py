"""A model or a pair by itself: by a click, by a key, by its address, and back again."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from selenium.webdriver.common.keys import Keys

from overlap.report import Results
from tests.view.browser import chromium, go, until

pytestmark = pytest.mark.skipif(
    chromium() is None, reason="no Chromium with its driver (apt-get install chromium chromium-driver)"
)


def panel_open(driver: Any) -> bool:
    return driver.execute_script("return document.getElementById('panel').open")


def test_a_click_on_the_map_opens_the_pair_and_the_way_back_closes_it(driver: Any, large: Results) -> None:
    one, other = driver.execute_script(
        """
        const heat = JSON.parse(document.getElementById("heat").textContent)[0];
        const svg = document.querySelector("#figure-kappa svg");
        const frame = svg.getBoundingClientRect();
        const [left, top, width, height] = heat.box;
        const at = (place, start, size) => start + size * (place + 0.5) / heat.order.length;
        svg.dispatchEvent(new MouseEvent("click", {
          clientX: frame.left + frame.width * at(200, left, width),
          clientY: frame.top + frame.height * at(10, top, height),
        }));
        return [heat.order[10], heat.order[200]];
        """
    )
    first, second = sorted((one, other))
    until(driver, "document.getElementById('panel').dataset.shown", f"#pair={first}~{second}")
    assert panel_open(driver)
    title = driver.execute_script("return document.activeElement.textContent")
    assert title == f"{first} + {second}", "the title has the focus"
    text = driver.execute_script("return document.getElementById('panel').textContent")
    row = large.pairs.filter((pl.col("model_a") == first) & (pl.col("model_b") == second)).row(0, named=True)
    assert f"{row['kappa']:.4f}".replace("-", "−") in text
    assert f"{row['only_a']} ({100 * row['only_a'] / row['n']:.1f}%)" in text
    ensembles = large.pair_ensembles.filter((pl.col("model_a") == first) & (pl.col("model_b") == second))
    for gain, accuracy in ensembles.select("gain_best", "accuracy").iter_rows():
        assert f"{gain:+.4f}".replace("-", "−") in text
        assert abs(float(f"{accuracy:.4f}") - accuracy) < 1e-4
    driver.back()
    until(driver, "document.getElementById('panel').open", False)
    driver.forward()
    until(driver, "document.getElementById('panel').open", True)


def test_a_model_has_its_row_partners_classes_and_groups(driver: Any, large: Results) -> None:
    name = large.models["model"][7]
    text = go(driver, f"#model={name}")
    own = large.pairs.filter((pl.col("model_a") == name) | (pl.col("model_b") == name)).sort("kappa")
    assert f"{own.height} rows" in text
    nearest, farthest = own.row(-1, named=True), own.row(0, named=True)
    for row, words in ((nearest, "Errs most like"), (farthest, "Errs least like")):
        other = row["model_b"] if row["model_a"] == name else row["model_a"]
        assert f"{words} {other} (κ " in text
    scores = large.table("class_scores").filter((pl.col("model") == name) & pl.col("best_of_zoo"))
    best = scores.sort("score", descending=True)["name"]
    assert f"best of the zoo at{best[0] if best.len() else 'none'}" in text
    groups = large.table("group_scores").filter(pl.col("model") == name)
    assert all(group in text for group in groups["group"])
    link = driver.find_element("css selector", "#panel [data-cell=partner] a")
    partner = link.text
    driver.execute_script("arguments[0].click()", link)
    until(driver, "document.querySelector('#panel h2').textContent", partner)


def test_pairs_show_the_images_that_drive_them(driver: Any, large: Results) -> None:
    driving = large.table("driving").filter((pl.col("rank") == 1) & pl.col("key").is_in(list(large.thumbnails)))
    row = driving.row(0, named=True)
    go(driver, f"#pair={row['model_a']}~{row['model_b']}")
    until(driver, "document.querySelector('#panel img').naturalWidth", 64)
    said = driver.execute_script("return document.querySelector('#panel .images li').textContent")
    assert row["key"] in said
    assert f"class {row['label']:04d}" in said
    sure = row["confidence_a"] if row["right"] == "a" else row["confidence_b"]
    assert f"({round(100 * round(sure, 2))}%)" in said


def test_escape_and_the_button_close_and_the_page_can_be_left_by_its_address(driver: Any, large: Results) -> None:
    name = large.models["model"][0]
    for close in ("escape", "button"):
        go(driver, f"#model={name}")
        if close == "escape":
            driver.switch_to.active_element.send_keys(Keys.ESCAPE)
        else:
            driver.find_element("css selector", "#panel .close").click()
        until(driver, "document.getElementById('panel').open", False)
        assert driver.execute_script("return location.hash") == ""
    assert "No model of these tables is called “nobody”" in go(driver, "#model=nobody")
    assert "No model of these tables is called “x”" in go(driver, f"#pair={name}~x")


def test_the_map_can_be_walked_with_the_keys(driver: Any) -> None:
    order = driver.execute_script("return JSON.parse(document.getElementById('heat').textContent)[0].order")
    frame = driver.find_element("css selector", "#figure-kappa .drawing")
    driver.execute_script("arguments[0].focus()", frame)
    frame.send_keys(Keys.ARROW_RIGHT)
    frame.send_keys(Keys.ARROW_RIGHT)
    said = driver.execute_script("return document.getElementById('tip').textContent")
    assert said.startswith(f"{order[0]} and {order[2]}")
    frame.send_keys(Keys.ENTER)
    first, second = sorted((order[0], order[2]))
    until(driver, "document.getElementById('panel').dataset.shown", f"#pair={first}~{second}")
