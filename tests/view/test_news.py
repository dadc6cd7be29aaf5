"""What is new, as a terminal, a page in a browser, and MLflow say it."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from overlap.earlier import read_earlier
from overlap.news import of_plain
from overlap.published import NEWS, read_results, write_results
from overlap.report import Results, render_page
from overlap.report.news import ensemble_sentence, headline, model_line, news_lines, size_row
from overlap.report.summary import summary_text
from overlap.store import layout
from overlap.store.folder import Folder
from overlap.tracking import entries
from tests.view.browser import chromium
from tests.view.ensemble_frames import whole
from tests.view.holdings import histories, holdings, of_kind, sync, zoo
from tests.view.news_frames import news_of, with_news


@pytest.fixture(scope="module")
def results() -> Results:
    return with_news(whole(9, 200, 6))


def test_news_come_back_as_they_were_written(results: Results) -> None:
    news = news_of(results)
    assert of_plain(json.loads(json.dumps(news.plain()))) == news
    assert of_plain(None) is None
    assert of_plain(news.plain() | {"schema": 2}) is None
    assert news.id == dataclasses.replace(news, models=(), sizes=()).id
    assert news.id != dataclasses.replace(news, previous="another").id


def test_news_are_read_only_with_the_results_they_belong_to(tmp_path: Path, results: Results) -> None:
    store = Folder(tmp_path)
    write_results(results, store)
    read = read_results(results.data, store)
    assert read is not None
    assert of_plain(read.news) == news_of(results)
    earlier = read_earlier(results.data, store)
    assert earlier is not None
    assert (earlier.inputs_digest, earlier.news) == (results.inputs_digest, read.news)
    assert earlier.models.equals(results.models)

    key = layout.results(results.data, NEWS, inputs=results.inputs_digest)
    kept = store.get(key)
    store.put(key, kept.replace(b"newcomer", b"other", 1) + b" ")
    assert (altered := read_results(results.data, store)) is not None
    assert altered.news is None, "others than were written are none"
    store.put(key, kept)

    write_results(dataclasses.replace(results, inputs_digest="9" * 64, news=None), store)
    assert (first := read_results(results.data, store)) is not None
    assert first.news is None
    assert store.head(layout.results(results.data, NEWS)) is None, "nothing lingers at the fixed name"
    assert store.get(key) == kept, "earlier ones stay beside"


def test_a_terminal_says_who_came_and_whether_it_helped(results: Results) -> None:
    text = re.sub(r"\s+", " ", summary_text(results, width=200))
    news = news_of(results)
    assert headline(news) in text
    assert "2 added" in text
    assert "1 withdrawn: gone" in text
    added = news.models[0]
    assert model_line(added) == (
        f"{added.model} (added): accuracy 81.2% (77.0% to 85.0%); rank 4 (2 to 9) of 300; errs most like "
        f"{added.place.nearest.model} (κ 0.81); least like {added.place.farthest.model} (κ 0.12); "
        "alone right on 7 of 400 images; in the best ensembles of 3 to 5 members"
    )
    assert "changed: weights aa → bb, preprocessing.crop_pct 0.9 → 0.95" in text
    assert "its accuracy was 50.0%; its predictions stay in the store" in text
    sentence = ensemble_sentence(news)
    assert sentence is not None
    assert sentence.standing == "beyond"
    assert sentence.text == (
        "The best ensemble changed for 3 of 4 sizes; the largest difference on the test split is +2.0 points "
        "(+0.5 to +3.5), of 2 members. That of 2 members is beyond chance after Holm's correction over 2 sizes."
    )
    assert any("4: 80.0% → 82.0%, –, gone takes no part any more" in line for line in news_lines(news))
    assert summary_text(dataclasses.replace(results, news=None)).count("What is new") == 0


def test_ensembles_that_stayed_or_are_no_better_are_said_to_be_so(results: Results) -> None:
    news = news_of(results)
    same = dataclasses.replace(news, sizes=news.sizes[:1])
    told = ensemble_sentence(same)
    assert told is not None
    assert (told.standing, told.text) == ("untested", "The best ensemble of each size, 1 to 1, is what it was.")
    within = ensemble_sentence(dataclasses.replace(news, sizes=news.sizes[2:3]))
    assert within is not None
    assert within.standing == "within"
    assert within.text.endswith("None is beyond chance after Holm's correction over 1 size.")
    lost = ensemble_sentence(dataclasses.replace(news, sizes=news.sizes[3:]))
    assert lost is not None
    assert lost.text.endswith("none of the earlier ones can be judged any more.")
    assert ensemble_sentence(dataclasses.replace(news, sizes=())) is None
    assert size_row(news.sizes[3])["members"] == f"+ {news.models[0].model}, + c, − b, − gone"


def test_the_page_has_a_section_only_where_something_is_new(results: Results) -> None:
    page = render_page(results, [])
    assert page.count('id="new"') == 1
    assert "weights &lt;b&gt;do not fit&lt;/b&gt;" in page
    assert 'id="new"' not in render_page(dataclasses.replace(results, news=None), [])


@pytest.mark.skipif(chromium() is None, reason="no Chromium with its driver (apt-get install chromium chromium-driver)")
def test_the_section_in_a_browser(driver: Any, large: Results, large_page: Path) -> None:
    """Its table is there, and a new model's name leads to its panel."""
    news = news_of(large)
    rows = driver.execute_script(
        "return [...document.querySelectorAll('#new-ensembles tbody tr')]"
        ".map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    assert [row[0] for row in rows] == ["1", "2", "3", "4"]
    assert [row[-1] for row in rows] == ["", "beyond chance", "not beyond chance", "gone takes no part any more"]
    assert rows[1][4] == "+2.0 (+0.5 to +3.5)"
    link = driver.find_element("css selector", "#new a[href^='#model=']")
    assert link.text == news.models[0].model
    driver.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'}); arguments[0].click()", link
    )
    shown = driver.execute_async_script(
        "const done = arguments[0]; const look = () => { const panel = document.getElementById('panel');"
        " panel.open ? done(panel.querySelector('h2').textContent) : setTimeout(look, 20); }; look();"
    )
    assert shown == news.models[0].model
    wide = driver.execute_script("return document.documentElement.scrollWidth > innerWidth")
    assert not wide


def test_mlflow_compares_with_the_reduction_before_and_is_told_once(tmp_path: Path) -> None:
    uri, first = f"sqlite:///{tmp_path}/mlflow.db", zoo("news")
    sync(uri, first)
    later = dataclasses.replace(first, inputs_digest="e" * 64)
    news = dataclasses.replace(
        news_of(later), since=first.inputs_digest, since_dataset=first.dataset_digest, inputs_digest="e" * 64
    )
    later = dataclasses.replace(later, news=news.plain())
    assert sync(uri, later, call="second").created == 1
    assert sync(uri, later, call="third").created == sync(uri, later, call="third").updated == 0
    client, runs, *_ = holdings(uri, "news")
    before, now = sorted(of_kind(runs, "reduction"), key=lambda run: "overlap.previous" in run.data.tags)
    assert now.data.tags["overlap.previous"] == before.data.tags["overlap.key"]
    assert now.data.tags["overlap.new"] == headline(news)
    assert now.data.metrics["new/added"] == 2
    assert now.data.metrics["new/withdrawn"] == now.data.metrics["new/failed"] == 1
    assert "new/added" not in before.data.metrics
    gains = {(step, value) for name, value, step in entries.reduction(later).metrics if name == "new/ensemble_gain"}
    assert gains == {(2, 0.02), (3, 0.01)}
    assert [path.path for path in client.list_artifacts(now.info.run_id) if path.path == "news.json"] == ["news.json"]
    assert histories(client, now)
