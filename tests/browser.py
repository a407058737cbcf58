"""A real browser, without a window: what it shows of a page, and what it complains of."""

import os
import re
import shutil
from contextlib import contextmanager

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

FLAGS = (
    "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
    "disable-component-update", "disable-sync", "hide-scrollbars",
)  # fmt: skip


def program(*names):
    """Where one of these programs is; without any, the test is skipped, or fails where a browser is required."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        missing = f"no {' or '.join(names)} on this machine"
        (pytest.fail if os.environ.get("TRUNKLINE_REQUIRE_BROWSER") else pytest.skip)(missing)
    return found


class Screen:
    """A browser's window of a given size, and a folder of its own."""

    def __init__(self, driver, folder):
        self.driver, self.folder = driver, folder

    def look(self, address, width, height=800, dark=False):
        """Show a page in a window of a size."""
        self.resize(width, height, dark)
        self.driver.get(address)

    def resize(self, width, height=800, dark=False):
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def asked(self, expression):
        return self.driver.execute_script(f"return {expression}")

    def complaints(self):
        """What the browser has logged since this was asked last: errors, and what the page's policy refused."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@contextmanager
def browser(folder):
    """Yield a driver of the browser and the folder, in which its profile is."""
    options = webdriver.ChromeOptions()
    options.binary_location = program("chromium", "google-chrome", "chromium-browser")
    for flag in (*FLAGS, f"user-data-dir={folder / 'profile'}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(program("chromedriver")))
    try:
        yield driver, folder
    finally:
        driver.quit()


def contrast(one, other):
    """How much two colours of CSS differ in brightness, from 1 to 21: https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio."""

    def light(colour):
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)
