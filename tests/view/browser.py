"""Headless Chromium for the page's tests: which binary, which flags, and what the browser itself says it did."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-file-access-from-files",
)


def chromium() -> str | None:
    """The browser, where both it and its driver are installed."""
    if shutil.which("chromedriver") is None:
        return None
    return next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )


@contextmanager
def browsing(profile: Path, *, width: int = 1200, height: int = 900, dark: bool = False) -> Iterator[Any]:
    """A driver whose logs of console and network are kept; its processes end with the context."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium() or ""
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        yield driver
    finally:
        driver.quit()


def requests(driver: Any) -> list[str]:
    """Addresses the page asked for, as the browser's own network log has them; each call drains the log."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]


def column(driver: Any, table: str, name: str) -> list[str]:
    return driver.execute_script(
        """
        const grid = document.querySelector(`[data-table=${arguments[0]}]`);
        return [...grid.querySelectorAll(`tbody [data-cell=${arguments[1]}]`)].map((cell) => cell.textContent);
        """,
        table,
        name,
    )


def numbers(driver: Any, table: str, name: str) -> list[float]:
    return [float(text.replace("−", "-")) for text in column(driver, table, name)]


def until(driver: Any, script: str, wanted: Any = True) -> None:
    """Wait for a script to return that."""
    end = time.monotonic() + 20
    while (found := driver.execute_script(f"return {script}")) != wanted:
        assert time.monotonic() < end, found
        time.sleep(0.02)


def go(driver: Any, address: str) -> str:
    """Follow an address within the page; the panel's text."""
    driver.execute_script("location.hash = arguments[0]", address)
    until(driver, "document.getElementById('panel').dataset.shown", address)
    return driver.execute_script("return document.getElementById('panel').textContent")
