"""Chromium without a window, driven by Playwright; it renders WebGL2 in software.

Tests that use it run wherever a Chromium is on the PATH: `apt install chromium`. Playwright's own is not downloaded.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Playwright, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
WAIT = 60_000  # ms
PATH = next((found for name in NAMES if (found := shutil.which(name))), None)
needs_chromium = pytest.mark.skipif(PATH is None, reason="no Chromium on the PATH: apt install chromium")


@contextmanager
def launched() -> Iterator[tuple[Playwright, Browser]]:
    """A running Chromium, and what drives it."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=PATH, args=list(FLAGS))
        yield driver, browser
        browser.close()


def picture(shown: Page | Locator) -> np.ndarray:
    """A screenshot [h, w, 3], 0 to 255."""
    return np.asarray(Image.open(io.BytesIO(shown.screenshot())).convert("RGB")).astype(np.float32)
