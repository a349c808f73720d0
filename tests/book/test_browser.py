"""The built book in a real browser: every page, narrow and wide, light and dark."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import page_checks
import pytest
from browser import PROGRAM, Browser

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")
WIDTHS, THEMES = (1280, 390), ("light", "dark")
MATHEMATICS = """(async () => {
  if (!document.querySelector('.math')) return [0, 0, 0];
  await MathJax.startup.promise;
  return [document.querySelectorAll('.math').length,
          document.querySelectorAll('.math mjx-container').length,
          document.querySelectorAll('mjx-merror, [data-mjx-error]').length];
})()"""
FIGURES = """(() => [...document.querySelectorAll('article img, main img')].map(image => {
  const box = image.getBoundingClientRect();
  return {source: image.src.slice(0, 90), loaded: image.complete && image.naturalWidth > 0,
          seen: box.width > 50 && box.right <= window.innerWidth + 1, alt: image.alt};
}).filter(image => !image.loaded || !image.seen || !image.alt))()"""
LOAD_FIGURES = """(() => Promise.all([...document.querySelectorAll('img')].map(image => {
  image.loading = 'eager';
  return image.decode().catch(() => {});
})).then(() => document.querySelectorAll('article img').length))()"""
# Machines have other fonts: DejaVu Sans, say, is an eighth wider than Arial.
WIDER_LETTERS = """document.querySelectorAll('article table')
  .forEach(table => { table.style.letterSpacing = '0.06em'; })"""
CONTRAST = """(() => {
  const parts = color => (color.match(/[0-9.]+/g) || []).slice(0, 3).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const text = light(parts(getComputedStyle(document.querySelector('article p, main p')).color));
  const page = light(parts(getComputedStyle(document.body).backgroundColor));
  return (Math.max(text, page) + 0.05) / (Math.min(text, page) + 0.05);
})()"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[str]]]:
    """Build the book, serve it here, and return its address and its pages."""
    folder = tmp_path_factory.mktemp("book")
    build = subprocess.run(
        [Path(sys.executable).parent / "jupyter-book", "build", ROOT / "book", "-W", "-n",
         "--keep-going", "--path-output", folder],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert build.returncode == 0, build.stdout[-3000:] + build.stderr[-3000:]
    html = folder / "_build" / "html"
    handler = functools.partial(_Quiet, directory=str(html))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pages = sorted(str(page.relative_to(html)) for page in html.rglob("*.html"))
    hidden = {"genindex.html", "py-modindex.html", "search.html"}
    shown = [page for page in pages if page not in hidden and not page.startswith("_")]
    yield f"http://127.0.0.1:{server.server_port}", shown
    server.shutdown()
    server.server_close()


def seen_faults(browser: Browser, page: str, theme: str) -> list[str]:
    """Return what is wrong with the open page in a theme, at every width."""
    found = []
    if browser.evaluate("document.documentElement.dataset.theme") != theme:
        found.append(f"not in the {theme} theme")
    if browser.evaluate(CONTRAST) <= 4.5:  # WCAG 2.1, AA
        found.append("the contrast of text is 4.5 or less")
    for width in WIDTHS:
        browser.resize(width)
        found += [f"{width}: a figure is not seen: {one}" for one in browser.evaluate(FIGURES)]
        checks = page_checks.names(page, width)
        found += [f"{width}: {fault}" for fault in page_checks.faults(browser, checks)]
    browser.resize(WIDTHS[0])
    page_checks.open_folds(browser)
    found += [f"in a fold: {fault}" for fault in page_checks.faults(browser, ["cut code"])]
    browser.evaluate(WIDER_LETTERS)
    found += [f"wider letters: {f}" for f in page_checks.faults(browser, ["cut tables"])]
    return found + [f"error: {error}" for error in browser.errors()]


@pytest.mark.parametrize("theme", THEMES)
def test_every_page_is_whole(site, browser: Browser, theme: str):
    """A page is loaded once a theme: it takes another width without that."""
    address, pages = site
    assert len(pages) > 30
    browser.prefer(theme)
    found, mathematics, figures = list[str](), 0, 0
    for page in pages:
        browser.resize(WIDTHS[0])
        browser.open(f"{address}/{page}")
        written, rendered, wrong = browser.evaluate(MATHEMATICS)
        figures += browser.evaluate(LOAD_FIGURES)
        mathematics += written
        faults = seen_faults(browser, page, theme)
        if (rendered, wrong) != (written, 0):
            faults.append(f"{rendered} of {written} formulas are rendered, {wrong} with an error")
        if browser.hosts() != {address.split("/")[2]}:
            faults.append(f"it asks other hosts: {browser.hosts()}")
        found += [f"{page}: {fault}" for fault in dict.fromkeys(faults)]
    assert not found, "\n".join(found)
    assert mathematics > 100
    assert figures > 10


def test_search_finds_the_adaptive_prior(site, browser: Browser):
    address, _ = site
    browser.open(f"{address}/search.html?q=adaptive+prior")
    # Sphinx adds the results one by one.
    found = browser.evaluate("""new Promise(resolve => {
      const look = left => {
        const links = [...document.querySelectorAll('#search-results li a')].map(a => a.href);
        if (links.some(link => link.includes('adaptive_prior')) || !left) resolve(links);
        else setTimeout(look, 100, left - 1);
      };
      look(100);
    })""")
    assert any("adaptive_prior" in link for link in found), found


@pytest.mark.parametrize("page", ["from_scratch", "mppi", "policy_iteration"])
def test_a_tutorial_has_its_picture(site, browser: Browser, page: str):
    """What the pictures show is tested in `test_pictures.py`."""
    address, _ = site
    browser.open(f"{address}/tutorials/{page}.html")
    assert browser.evaluate("document.querySelector('article svg ~ label output').textContent")
