"""The widgets of the control panel: what each is called, its unit, range and tooltip. What they do is ``panel.py``'s.

Buttons, boxes and menus are ipywidgets; numbers are a small widget of the kit's own, since the sliders of ipywidgets
have no name that a screen reader could say.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as widgets
import traitlets

from labkit.charts import ground
from labkit.measuring.settings import DIALS, SOURCES, Settings
from labkit.techniques import Technique

_HERE = Path(__file__).parent
SHORT_UNITS = {"events per second": "per s", "seconds": "s", "bytes": "B"}
CONTINUOUS = ("rate_per_s", "payload_bytes", "one_way_s", "jitter_s")
"""Dials whose value counts while they are dragged; the others wait until they are let go, as they restart something."""

BUTTONS = {
    "start": ("Start", "Attach a subscriber for each technique and start the source; again: stop, and keep the run."),
    "cut": ("Cut the link", "End every connection with a reset, and turn new ones away until Heal."),
    "stall": ("Stall the link", "Let nothing through, and tell nobody, until Heal."),
    "heal": ("Heal", "Undo Cut and Stall."),
    "reset": ("Reset", "Stop, put every control back, clear the charts."),
    "save": ("Save run", "Write the last run to a Parquet file in this notebook's folder."),
}
STOP = "Stop"

PUBLISH_TEXT = {
    "name": "text",
    "label": "one event",
    "type": "text",
    "placeholder": "any text",
    "width": "180px",
    "help": "The data of one event; Enter publishes it.",
}
EVENT_ID = {
    "name": "event_id",
    "label": "event id",
    "type": "number",
    "width": "80px",
    "help": "Which event to open; a click on a dot of the latency chart does the same.",
}
OVER = {"name": "technique", "label": "over", "width": "150px", "help": "By which technique it arrived."}


class DialWidget(anywidget.AnyWidget):
    """A number with a label, a unit and a range."""

    _esm = _HERE / "panel.js"

    name = traitlets.Unicode().tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)
    unit = traitlets.Unicode().tag(sync=True)
    short_unit = traitlets.Unicode().tag(sync=True)
    help = traitlets.Unicode().tag(sync=True)
    low = traitlets.Float().tag(sync=True)
    high = traitlets.Float().tag(sync=True)
    step = traitlets.Float().tag(sync=True)
    log = traitlets.Bool().tag(sync=True)
    whole = traitlets.Bool().tag(sync=True)
    continuous = traitlets.Bool().tag(sync=True)
    value = traitlets.Float().tag(sync=True)
    keeps_keys = traitlets.Bool().tag(sync=True)
    disabled = traitlets.Bool().tag(sync=True)


class FirstDial(DialWidget):
    """The dial that brings the styles of all, charts included: a saved notebook holds them once."""

    _css = (_HERE / "panel.css").read_text(encoding="utf-8") + ground.SHEET


class FormWidget(anywidget.AnyWidget):
    """A few fields and their button, or Enter: what the fields hold comes with the press, in one message.

    Attributes:
        values: what the fields show, as text; set by the kernel only, and not over what somebody is typing.
    """

    _esm = _HERE / "panel_form.js"

    fields = traitlets.List(traitlets.Dict()).tag(sync=True)
    button = traitlets.Unicode().tag(sync=True)
    help = traitlets.Unicode().tag(sync=True)
    values = traitlets.Dict().tag(sync=True)
    disabled = traitlets.Bool().tag(sync=True)

    def put(self, **values: str) -> None:
        """Show these values."""
        self.values = {**self.values, **values}

    def on_press(self, act: Callable[[dict[str, str]], None]) -> None:
        """Have *act* told what the fields hold, each time the button is pressed."""

        def heard(_: object, content: Any, __: object) -> None:
            pressed = content.get("pressed") if isinstance(content, dict) else None
            if isinstance(pressed, dict) and set(pressed) == set(self.values):
                self.values = pressed
                act(dict(pressed))

        self.on_msg(heard)


class Controls:
    """Every widget of the panel, by its name, and the box that holds them.

    Attributes:
        techniques: a box to tick for each.
        dials: those of ``DIALS``.
        box: what is displayed.
    """

    def __init__(self, techniques: Sequence[Technique], settings: Settings) -> None:
        make = _Maker()
        self.plain = make.plain
        self.techniques = {t.name: make.tick(t.short) for t in techniques}
        self.dials = {n: make.dial(n, getattr(settings, n), first=n == next(iter(DIALS))) for n in DIALS}
        self.source = widgets.Dropdown(
            options=[(title, name) for name, title in SOURCES.items()],
            description="source",
            tooltip="What is published by itself, and when.",
            style={"description_width": "50px"},
            layout={"width": "270px"},
        )
        self.buttons = {name: make.button(*text) for name, text in BUTTONS.items()}
        self.publish = make.form("Publish", "Publish the text as one event, now.", [PUBLISH_TEXT])
        over = [["every technique", ""], *([t.short, t.name] for t in techniques)]
        opens = "Its sequence diagram, and its bytes on both sides of each hop."
        self.open = make.form("Open event", opens, [EVENT_ID, {**OVER, "options": over}])
        self.says = make.words("labkit-says", "status")
        self.standing = make.words("labkit-standing", None)
        self.chart = widgets.VBox([], layout={"overflow": "visible"})
        self.details = widgets.VBox([], layout=self.plain)
        self.details.add_class("labkit-details")
        self.errors = widgets.Output(layout=self.plain)
        self.box = self._box(make)
        self.show(settings)

    def _box(self, make: _Maker) -> Any:
        dials = widgets.Box(list(self.dials.values()), layout=self.plain)
        dials.add_class("labkit-dials")
        rows = [
            make.row(*self.buttons.values()),
            make.row(make.heading("techniques"), *self.techniques.values()),
            dials,
            make.row(self.source, self.publish),
        ]
        below = [self.says, self.standing, self.chart, self.open, self.details, self.errors]
        box = widgets.VBox([*rows, *below], layout=self.plain)
        box.add_class("labkit-panel")
        return box

    def show(self, settings: Settings) -> None:
        """Put every control where the settings say."""
        for name, tick in self.techniques.items():
            tick.value = name in settings.techniques
        for name, dial in self.dials.items():
            dial.value = float(getattr(settings, name))
        self.source.value = settings.source

    def wanted(self, name: str) -> Any:
        """What the control of a setting says."""
        if name == "techniques":
            return tuple(name for name, tick in self.techniques.items() if tick.value)
        return self.source.value if name == "source" else self.dials[name].value

    def say(self, text: str) -> None:
        """One sentence, or none."""
        self.says.value = f'<div role="status"><p>{html.escape(text)}</p></div>'

    def stand(self, text: str) -> None:
        """How the run stands."""
        self.standing.value = f"<p>{html.escape(text)}</p>"

    def lock(self) -> None:
        """Nothing can be pressed or typed any more, by hand or by keyboard, and that is seen."""
        everything = [*self.buttons.values(), *self.techniques.values(), *self.dials.values()]
        for control in (*everything, self.source, self.publish, self.open):
            control.disabled = True
        self.box.add_class("labkit-closed")

    def running(self, is_running: bool) -> None:
        """Name the start button after what it does next."""
        self.buttons["start"].description = STOP if is_running else BUTTONS["start"][0]


class _Maker:
    """Makes widgets that share layouts and styles: a saved notebook holds each of those as a model of its own."""

    def __init__(self) -> None:
        self.plain, self._auto = widgets.Layout(), widgets.Layout(width="auto")
        self._ticked, self._pressed = widgets.Checkbox.style.klass(), widgets.ButtonStyle()

    def tick(self, title: str) -> Any:
        return widgets.Checkbox(
            description=title,
            indent=False,
            tooltip=f"Whether a {title} subscriber takes part. A change during a run starts another run.",
            layout=self._auto,
            style=self._ticked,
        )

    def dial(self, name: str, value: float, *, first: bool) -> DialWidget:
        dial = DIALS[name]
        return (FirstDial if first else DialWidget)(
            name=name,
            label=dial.label,
            unit=dial.unit,
            short_unit=SHORT_UNITS[dial.unit],
            help=dial.help,
            low=dial.low,
            high=dial.high,
            step=dial.step,
            log=dial.log,
            whole=dial.whole,
            continuous=name in CONTINUOUS,
            value=float(value),  # from the first: anywidget 0.11 tells a page that took over 2 s to load of no change
            keeps_keys=first,
            layout=self.plain,
        )

    def button(self, label: str, tooltip: str) -> Any:
        return widgets.Button(description=label, tooltip=tooltip, layout=self._auto, style=self._pressed)

    def form(self, button: str, help: str, fields: list[dict[str, Any]]) -> FormWidget:
        values = {field["name"]: "" for field in fields}
        return FormWidget(fields=fields, button=button, help=help, values=values, layout=self.plain)

    def heading(self, text: str) -> Any:
        return widgets.Label(text, style={"font_weight": "bold"}, layout=self.plain)

    def row(self, *children: Any) -> Any:
        row = widgets.Box(children, layout=self.plain)
        row.add_class("labkit-row")
        return row

    def words(self, name: str, role: str | None) -> Any:
        words = widgets.HTML(f'<div role="{role}"></div>' if role else "", layout=self.plain)
        words.add_class(name)
        return words


def shown(*things: Any, layout: Any) -> Any:
    """An Output that holds plotly figures and whatever has a ``_repr_html_``, without anything being captured."""
    outputs = []
    for thing in things:
        if hasattr(thing, "to_plotly_json"):
            import json

            data = {"application/vnd.plotly.v1+json": json.loads(thing.to_json()), "text/plain": "chart"}
        else:
            data = {"text/html": thing._repr_html_(), "text/plain": str(thing)}
        outputs.append({"output_type": "display_data", "data": data, "metadata": {}})
    return widgets.Output(outputs=tuple(outputs), layout=layout)
