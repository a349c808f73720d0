"""Checks of a page that is open in a browser: each returns a line for each thing that is wrong.

Written in JavaScript, since only the browser knows where things are. A check looks at what a reader
sees: a closed fold hides what is in it.
"""

from __future__ import annotations

from browser import Browser

_SEEN = r"""
const shown = element => element.checkVisibility({visibilityProperty: true});
const all = selector => [...document.querySelectorAll(selector)];
const seen = selector => all(selector).filter(shown);
const start = element => element.textContent.trim().replace(/\s+/g, ' ').slice(0, 60);
// The pieces of text below elements, without those inside of `others`.
const texts = (selector, others) => seen(selector).flatMap(element => {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT), found = [];
  while (walker.nextNode()) found.push(walker.currentNode);
  return found.filter(text => shown(text.parentElement)
    && !text.parentElement.closest(`script, style${others ? ', ' + others : ''}`));
});
// What fits a pattern and goes on in the next line.
const broken = (text, pattern) => [...text.textContent.matchAll(pattern)].filter(match => {
  const range = document.createRange();
  range.setStart(text, match.index);
  range.setEnd(text, match.index + match[0].length);
  return new Set([...range.getClientRects()].map(box => Math.round(box.top))).size > 1;
}).map(match => match[0]);
"""
# A table that nothing has rendered is a paragraph, or printed, and begins with its pipes.
_RAW_TABLES = r"""
return seen('article p, .cell_output pre')
  .filter(text => /^\s*\|[^]*\|\s*:?-{3,}/.test(text.textContent))
  .map(text => 'a Markdown table as raw pipes: ' + start(text));
"""
# A formula or a stressed word that nothing has rendered keeps its dollars or its stars.
_RAW_MARKS = r"""
const marks = /\$[^$]*[\\_^{=][^$]*\$|(?<![\w*])\*\w[^*]*\*(?![\w*])/g;
return texts('article', 'pre, code, .math, mjx-container, svg')
  .flatMap(text => text.textContent.match(marks) ?? [])
  .map(mark => 'dollars or stars as they were written: ' + mark);
"""
_BROKEN_NUMBERS = r"""
return texts('article', 'pre, code, svg')
  .flatMap(text => broken(text, /\d{1,3}(?:[ \n]\d{3})+(?!\d)/g))
  .map(number => 'a line ends inside a number: ' + number);
"""
_CUT_CODE = """
return seen('article pre').filter(code => code.scrollWidth > code.clientWidth + 1).map(code => {
  const lines = code.textContent.split('\\n');
  const longest = lines.reduce((a, b) => a.length < b.length ? b : a, '').trim();
  return `a line of code is cut at its box, ${longest.length} characters: ` + longest;
});
"""
# Its own box, or one around it that hides or scrolls the rest, up to the article.
_CUT_TABLES = """
return seen('article table').filter(table => {
  for (let box = table.parentElement; box; box = box.parentElement) {
    const edges = box.getBoundingClientRect();
    const edge = edges.left + box.clientLeft + box.clientWidth;
    const hides = getComputedStyle(box).overflowX !== 'visible' || box.tagName === 'ARTICLE';
    if (hides && table.getBoundingClientRect().right > edge + 1) return true;
    if (box.tagName === 'ARTICLE') return table.scrollWidth > table.clientWidth + 1;
  }
}).map(table => 'a table is cut at its right: ' + start(table));
"""
# Where pandas names eight columns or more, a word may go on in the next line.
_BROKEN_HEADERS = r"""
return texts('article table:not(.dataframe:has(thead th:nth-child(8))) thead th')
  .flatMap(text => broken(text, /\p{L}+/gu))
  .map(word => `a word of a table's header is broken: ${word}`);
"""
_OPEN_CODE = """
return seen('article .cell_input').map(cell => 'code stands open: ' + start(cell));
"""
_SEARCH_FIELDS = """
const fields = seen('.search-button-field, input[type="search"]').length;
return fields > 1 ? [`${fields} search fields are seen`] : [];
"""
_FIGURES = "seen('article figure img, article .cell_output img, article p > img:only-child')"
_SIZE = """
const size = image => {  // of what is drawn, without padding
  const style = getComputedStyle(image);
  const [left, right, top, bottom] = ['Left', 'Right', 'Top', 'Bottom']
    .map(side => parseFloat(style['padding' + side]));
  return [image.clientWidth - left - right, image.clientHeight - top - bottom];
};
"""
_COARSE_FIGURES = f"""
{_SIZE} return {_FIGURES}.filter(image => {{
  const other = /\\.(svg|gif|webp)([?#]|$)|^data:image\\/svg/.test(image.src);  // or it moves
  return !other && image.naturalWidth < 2 * size(image)[0] - 1;
}}).map(image => `a figure has ${{image.naturalWidth}} pixels in a width of `
  + `${{Math.round(size(image)[0])}}: ${{image.alt}}`);
"""
_STRETCHED_FIGURES = f"""
{_SIZE} return {_FIGURES}.filter(image => {{
  const [width, height] = size(image);
  return Math.abs(width / height * image.naturalHeight / image.naturalWidth - 1) > 0.03;
}}).map(image => 'a figure is stretched: ' + image.alt);
"""
_NO_CAPTIONS = f"""
return {_FIGURES}.filter(image => {{
  const caption = image.closest('figure')?.querySelector('figcaption');
  return !caption || !shown(caption) || !caption.textContent.trim();
}}).map(image => 'a figure has no caption: ' + image.alt);
"""
_CUT_VIDEOS = """
const edge = document.querySelector('article')?.getBoundingClientRect().right;
return seen('article video').filter(video => video.getBoundingClientRect().right > edge + 1)
  .map(video => 'a video is cut at its right: ' + video.title);
"""
_EVERYWHERE = {
    "raw tables": _RAW_TABLES,
    "raw marks": _RAW_MARKS,
    "broken numbers": _BROKEN_NUMBERS,
    "search fields": _SEARCH_FIELDS,
    "captions": _NO_CAPTIONS,
    "sharpness": _COARSE_FIGURES,
    "proportions": _STRETCHED_FIGURES,
    "videos": _CUT_VIDEOS,
}
_WIDE = {  # a telephone scrolls them
    "cut code": _CUT_CODE,
    "cut tables": _CUT_TABLES,
    "broken headers": _BROKEN_HEADERS,
}
_RESULTS = {"open code": _OPEN_CODE}
CHECKS = _EVERYWHERE | _WIDE | _RESULTS


def names(page: str, width: int) -> list[str]:
    """Return the checks that a page (its path in the book) has to pass at a width in pixels."""
    wide = _WIDE if width >= 1280 else {}
    results = _RESULTS if page.startswith("results/") else {}
    return [*_EVERYWHERE, *wide, *results]


def faults(browser: Browser, checks: list[str]) -> list[str]:
    """Return what the checks of these names find on the open page."""
    bodies = [f"...(() => {{{CHECKS[name]}}})()" for name in checks]
    return browser.evaluate(f"(() => {{{_SEEN} return [{', '.join(bodies)}];}})()")


def open_folds(browser: Browser) -> None:
    """Open every fold of the page, so that the checks see what is in them."""
    browser.evaluate("""
      document.querySelectorAll('article details').forEach(fold => { fold.open = true; });
      document.querySelectorAll('article .toggle-hidden')
        .forEach(fold => fold.classList.remove('toggle-hidden'));
    """)
