"""Every page of the site in a browser, without a network: nothing fails, nothing sticks out."""

import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.docs.built_site import PAGES, SITE, is_built

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")

HERE = Path(__file__).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}

pytestmark = [is_built, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]


class Quiet(SimpleHTTPRequestHandler):
    """Keeps connections, and keeps no log."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=SITE)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Window:
    """One page of a browser, and what went wrong in it since it was last asked."""

    def __init__(self, page: "sync_api.Page", address: str) -> None:
        self.page, self.address = page, address
        self.events: list[str] = []
        page.on("console", self.console)
        page.on("pageerror", lambda error: self.events.append(f"uncaught: {error}"))
        page.on("request", self.request)
        page.on("requestfailed", lambda it: self.events.append(f"failed: {it.url}, {it.failure}"))
        page.on("response", self.response)

    def console(self, message: "sync_api.ConsoleMessage") -> None:
        wants_an_icon = message.location["url"].endswith("/favicon.ico")  # unasked
        if message.type == "error" and not wants_an_icon:
            self.events.append(f"console: {message.text}")

    def request(self, request: "sync_api.Request") -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.events.append(f"another host: {request.url}")

    def response(self, response: "sync_api.Response") -> None:
        if response.status >= 400:
            self.events.append(f"{response.status}: {response.url}")

    def open(self, path: str) -> None:
        self.page.set_viewport_size(SIZES["desktop"])
        self.events.clear()
        self.page.goto(f"{self.address}/{path}", wait_until="load")

    def find(self, script: str) -> list[str]:
        """What a script beside this file finds in the page."""
        found: list[str] = self.page.evaluate((HERE / script).read_text())
        return found


@pytest.fixture(scope="module")
def window(address: str) -> Iterator[Window]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield Window(browser.new_page(), address)
        browser.close()


@pytest.mark.parametrize("path", PAGES)
def test_page(window: Window, path: str) -> None:
    window.open(path)
    faults = window.find("faults.js")
    for size, viewport in SIZES.items():
        window.page.set_viewport_size(viewport)
        faults += [f"wider than a {size}: {element}" for element in window.find("overflow.js")]
    faults += window.events
    assert not faults, "\n".join(faults)


def test_search(window: Window) -> None:
    window.open("search.html?q=whitening")
    found = window.page.locator("#search-results li a")
    found.first.wait_for()
    assert any("whitening" in (link.get_attribute("href") or "") for link in found.all())
    assert not window.events, "\n".join(window.events)
