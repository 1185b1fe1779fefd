"""Whether what a notebook shows can be read on its page's ground: contrast ratios (WCAG 2.2) of computed colours.

A colour is what the browser makes of it: the filter of the chart that it is in is applied by a canvas.
"""

from __future__ import annotations

from typing import Any

from harness import Notebook
from playwright.sync_api import Page

TEXT, GRAPHICS = 4.5, 3.0
THEMES = ("Light", "Dark")

PLOTS = ".js-plotly-plot:has(.main-svg), .jp-RenderedPlotly > img"
MEASURE = """
const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
const drawn = (paint, filter) => {  // paint: colours, one over the other
  canvas.filter = 'none'; canvas.globalAlpha = 1; canvas.clearRect(0, 0, 1, 1); canvas.filter = filter;
  for (const [what, alpha] of paint) {
    canvas.globalAlpha = alpha;
    if (typeof what === 'string') { canvas.fillStyle = what; canvas.fillRect(0, 0, 1, 1) }
    else canvas.drawImage(what, 2, 2, 1, 1, 0, 0, 1, 1);
  }
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const linear = v => v <= 10.31475 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + .05) / (y + .05) };
const clear = colour => /^(none|transparent|rgba\\(.*, 0\\)|url\\(.*)$/.test(colour);  // url: hatched, see the outline
const paints = (look, part) => [look[part], Number(look[part + 'Opacity'] ?? 1) * Number(look.opacity)];
const under = element => {
  for (let at = element; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (!clear(colour)) return [colour, 1];
  }
  return ['white', 1];
};
"""
READ = """
const poor = [], counts = { plots: 0, words: 0, marks: 0 };
const ask = (ratio, least, what) => { if (ratio < least) poor.push(`${ratio.toFixed(2)}: ${what}`) };
for (const plot of document.querySelectorAll(PLOTS)) {
  if (!plot.checkVisibility()) continue;
  counts.plots += 1;
  const filter = getComputedStyle(plot).filter, page = drawn([under(plot.parentElement)], 'none');
  if (plot.tagName === 'IMG') {
    await plot.decode();
    ask(2.1 - contrast(drawn([[plot, 1]], filter), page), 1, 'the ground of a picture');
    continue;
  }
  const paper = [getComputedStyle(plot.querySelector('.main-svg')).backgroundColor, 1];
  ask(2.1 - contrast(drawn([paper], filter), page), 1, 'the ground of a chart');
  for (const text of plot.querySelectorAll('.main-svg text')) {
    const look = getComputedStyle(text);
    const bar = text.matches('.bartext-inside') ? text.previousSibling : null;
    if (!text.textContent.trim() || look.visibility === 'hidden' || !text.getBoundingClientRect().width) continue;
    const ground = bar ? [paper, paints(getComputedStyle(bar), 'fill')] : [paper];
    counts.words += 1;
    ask(contrast(drawn([...ground, paints(look, 'fill')], filter), drawn(ground, filter)), TEXT, text.textContent);
  }
  for (const mark of plot.querySelectorAll('.points path.point, .bars .point path')) {
    const look = getComputedStyle(mark), box = mark.getBoundingClientRect();
    if (!box.width || !box.height) continue;
    const ratios = ['fill', 'stroke']
      .filter(part => !clear(look[part]) && (part === 'fill' || look.strokeWidth !== '0px'))
      .map(part => contrast(drawn([paper, paints(look, part)], filter), drawn([paper], filter)));
    counts.marks += 1;
    ask(Math.max(0, ...ratios), GRAPHICS, `${look.fill} ${look.stroke} of ${mark.closest('.trace')?.classList}`);
  }
}
for (const text of document.querySelectorAll('.jp-OutputArea :is(td, th, li, p, caption, pre, pre span)')) {
  if (!text.textContent.trim() || !text.checkVisibility()) continue;
  const ground = under(text), inked = drawn([ground, [getComputedStyle(text).color, 1]], 'none');
  ask(contrast(inked, drawn([ground], 'none')), TEXT, text.textContent.slice(0, 60));
}
return { ...counts, poor: [...new Set(poor)] };
"""


def read(page: Page) -> dict[str, Any]:
    """How many charts, words and marks there are, and which cannot be told from their ground."""
    names = f"const PLOTS = {PLOTS!r}, TEXT = {TEXT}, GRAPHICS = {GRAPHICS};"
    return dict(page.evaluate(f"async () => {{ {names} {MEASURE} {READ} }}"))


def assert_readable_in_both_themes(notebook: Notebook) -> None:
    """Every chart lies on the page's own ground, and stands out from it, in either theme; print is light."""
    for theme in THEMES:
        notebook.dress(theme)
        seen = read(notebook.page)
        assert seen["plots"] and seen["poor"] == [], (theme, seen)
    filters = f"return [...document.querySelectorAll({PLOTS!r})].map(plot => getComputedStyle(plot).filter)"
    assert set(notebook.evaluate(filters)) != {"none"}
    notebook.page.emulate_media(media="print")
    try:
        assert set(notebook.evaluate(filters)) == {"none"}
    finally:
        notebook.page.emulate_media(media="screen")
        notebook.dress("Light")
