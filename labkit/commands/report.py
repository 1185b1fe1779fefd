"""One HTML page of a run: its table and its charts, whole in one file that needs no network.

On a screen it is light or dark as the reader's system is; printed, light.
"""

from __future__ import annotations

import html
from pathlib import Path

from labkit import charts, files
from labkit.charts import ground
from labkit.measuring.run import Run

STYLE = """@media screen { html { color-scheme: light dark; background: light-dark(#fff, #111) } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; font-size: .85rem } td, th { padding: .2rem .6rem; text-align: right }"""


def write_html(run: Run, path: str | Path) -> Path:
    """Write the page and return its path."""
    figures = [] if run.foreign else [charts.latency(run)]
    figures += [charts.timeline(run), charts.overhead(run)] if len(run.deliveries) or not run.foreign else []
    figures.append(charts.sequence(run))
    parts = [figure.to_html(full_html=False, include_plotlyjs=index == 0) for index, figure in enumerate(figures)]
    title = html.escape(f"labkit: {', '.join(run.settings.get('techniques', ()))}")
    settings = html.escape(", ".join(f"{name} {value}" for name, value in sorted(run.versions.items())))
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}{ground.OF_THE_SYSTEM}</style>"
        f"<h1>{title}</h1>{run._repr_html_()}{''.join(parts)}<p><small>{settings}</small></p></html>"
    )
    return files.write(path, page)
