"""A headless Chromium, and pages that note what goes wrong on them and what they ask for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run")  # fmt: skip


@contextmanager
def launched() -> Iterator[Any]:
    """Give a browser; skip the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    if BROWSER is None:
        pytest.skip("no Chromium; on Debian `apt-get install chromium`")
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=BROWSER, args=list(QUIET))
        yield found
        found.close()


def watched(context: Any, *, errors_alone: bool = False) -> Any:
    """Return a new page with `problems`, what it said or threw, and `asked`, the addresses that it asked for.

    errors_alone: what it says on the console is a problem only when it is an error.
    """
    page = context.new_page()
    page.problems, page.asked = [], []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on(
        "console", lambda said: None if errors_alone and said.type != "error" else page.problems.append(said.text)
    )
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("dialog", lambda dialog: page.problems.append(dialog.message))
    return page
