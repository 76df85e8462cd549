"""The chat page in a real browser: it types, streams, stops and shows errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import watched
from served import Served, serving

pytest.importorskip("fastapi")


@pytest.fixture(scope="module")
def server(small: Callable[..., Path]) -> Iterator[Served]:
    model = small("llama", max_position_embeddings=4096)
    with serving(model, "--template", "alpaca", "--name", "llm-zh") as served:
        yield served


def until(page: Any, holds: Callable[[], bool]) -> None:
    """Wait for something; the page's own policy forbids what Playwright would evaluate in it."""
    for _ in range(600):
        if holds():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it did not come")


def chosen(page: Any, **settings: str) -> None:
    """Write into the page's settings."""
    page.click("#more summary")
    for name, value in settings.items():
        page.fill(f"#{name}", value)
    page.click("#more summary")


@pytest.fixture
def page(browser: Any, server: Served) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 900, "height": 700})
    found = watched(context, errors_alone=True)
    found.goto(server.url)
    until(found, lambda: found.text_content("#model") == "llm-zh")
    yield found
    context.close()


def test_it_streams_an_answer_and_asks_nobody_else(page: Any, server: Served) -> None:
    chosen(page, temperature="0", longest="40")
    page.fill("#text", "你好，世界")
    page.press("#text", "Enter")
    lengths = []
    for _ in range(400):
        lengths.append(len(page.text_content(".assistant") or ""))
        if page.locator("#send").is_visible():
            break
        page.wait_for_timeout(10)
    assert page.text_content(".user") == "你好，世界"
    answer = page.text_content(".assistant")
    assert answer
    assert len({length for length in lengths if length}) > 3, lengths
    assert "characters/s" in page.text_content("#state")
    page.fill("#text", "Second")
    page.click("#send")
    until(page, lambda: page.locator(".assistant").count() == 2)
    page.wait_for_selector("#send", state="visible")
    page.click("#anew")
    assert page.locator(".turn").count() == 0
    assert not page.problems
    assert all(url.startswith((server.url, "data:")) for url in page.asked), page.asked
    shot = os.environ.get("VOCABKIT_SCREENSHOT")
    if shot:
        page.fill("#text", "你好")
        page.press("#text", "Enter")
        page.wait_for_selector("#send", state="visible")
        page.screenshot(path=shot)


def test_it_stops_and_goes_on(page: Any) -> None:
    chosen(page, longest="3000", temperature="1")
    page.fill("#text", "Tell me everything")
    page.press("#text", "Enter")
    until(page, lambda: len(page.text_content(".assistant") or "") > 5)
    page.click("#stop")
    page.wait_for_selector("#send", state="visible")
    said = page.text_content(".assistant")
    page.wait_for_timeout(500)
    assert page.text_content(".assistant") == said
    assert page.text_content("#state") == "Stopped."
    assert not page.problems


def test_shift_enter_is_a_new_line_and_html_is_text(page: Any) -> None:
    chosen(page, longest="2")
    page.fill("#text", "<img src=x onerror=alert(1)>")
    page.press("#text", "Shift+Enter")
    page.keyboard.type("two")
    assert page.locator(".turn").count() == 0
    page.press("#text", "Enter")
    page.wait_for_selector("#send", state="visible")
    assert page.text_content(".user") == "<img src=x onerror=alert(1)>\ntwo"
    assert page.locator(".turn img").count() == 0


def test_an_error_is_shown_and_the_message_kept(page: Any) -> None:
    page.fill("#text", "word " * 6000)
    page.click("#send")
    page.wait_for_selector("#state.error")
    assert "the context holds 4,096" in page.text_content("#state")
    assert page.input_value("#text").startswith("word word")
    assert page.locator(".turn").count() == 0
