"""The control room driven from code: what each control is, what it does, that memory and drawing are bounded.

No browser: widgets work without one. ``tests/jupyter/test_control_room.py`` has the page.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import labkit
from conftest import UNIT
from labkit.errors import DurationError, LabClosed, LabkitError, UnknownTechnique
from labkit.measuring.endless import LiveRun
from labkit.measuring.settings import DIALS, SOURCES, SettingError, Settings, check
from labkit.room.board import MOST_DOTS, MOST_RUNGS, SHOWN_S, Board
from labkit.room.charts import LiveCharts
from labkit.room.controls import BUTTONS, DialWidget, FormWidget
from labkit.room.drawn_run import UPDATES_PER_S
from labkit.room.panel import Panel

STREAMS = ["sse", "websocket"]


@pytest.fixture
def lab() -> Iterator[labkit.Lab]:
    with labkit.Lab() as lab:
        yield lab


@pytest.fixture
def panel(lab: labkit.Lab) -> Iterator[Panel]:
    panel = Panel(lab, STREAMS, rate_per_s=40, one_way_s=0.01)
    yield panel
    panel.close()


def until(holds: Callable[[], object], timeout_s: float = 10 * UNIT) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)


def delivered(panel: Panel, count: int) -> None:
    """Wait until each technique has had so many more events."""
    live = panel._runs.live
    assert live is not None
    before = live.arrived
    until(lambda: all(n >= before[name] + count for name, n in live.arrived.items()))


# -- the controls ----------------------------------------------------------------------------------------------------


def test_every_dial_has_label_unit_range_and_tooltip(panel: Panel) -> None:
    assert list(panel._controls.dials) == list(DIALS)
    for dial in panel._controls.dials.values():
        assert dial.label and dial.unit and dial.short_unit and dial.help.endswith(".")
        assert dial.low < dial.high and dial.low <= dial.value <= dial.high
        assert 0 < dial.step <= (dial.high - dial.low) / 10


def test_every_other_control_has_a_description_and_a_tooltip(panel: Panel) -> None:
    controls = panel._controls
    for control in [*controls.buttons.values(), *controls.techniques.values(), controls.source]:
        assert control.description and control.tooltip
    for form in (controls.publish, controls.open):
        assert form.button and form.help and all(field["label"] and field["help"] for field in form.fields)
    assert set(controls.buttons) == {"start", "cut", "stall", "heal", "reset", "save"} == set(BUTTONS)


@pytest.mark.parametrize(("name", "value"), [(name, dial.low) for name, dial in DIALS.items()])
def test_a_dial_and_the_attribute_of_its_name_are_one(panel: Panel, name: str, value: float) -> None:
    dial = panel._controls.dials[name]
    setattr(panel, name, value)
    assert getattr(panel, name) == dial.value == value
    dial.value = DIALS[name].high
    until(lambda: getattr(panel, name) == DIALS[name].high)


def test_source_and_techniques_are_attributes_too(panel: Panel) -> None:
    panel.source, panel.techniques = "burst", "long-polling"
    assert panel._controls.source.value == "burst"
    assert [name for name, tick in panel._controls.techniques.items() if tick.value] == ["long-polling"]
    panel._controls.techniques["sse"].value = True
    until(lambda: set(panel.techniques) == {"long-polling", "sse"})


def test_controls_that_code_moved_ask_for_nothing(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ticks are set one by one: those half way would be a wish for other techniques, and another run."""
    asked: list[object] = []
    monkeypatch.setattr(panel._callbacks, "later", asked.append)
    panel.set(techniques=["http-streaming", "polling"], rate_per_s=3, source="burst")
    panel.reset()
    assert asked == []
    panel._controls.techniques["polling"].value = True
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *((name, (-1, math.nan, math.inf, "x", None, True, dial.high * 2)) for name, dial in DIALS.items()),
        ("payload_bytes", (1.5,)),
        ("source", ("chaos", None, [])),
        ("techniques", ([], [3], None, 3)),
    ],
)
def test_a_value_that_cannot_be_is_a_sentence_that_says_what_can(panel: Panel, name: str, values: Any) -> None:
    before = panel._settings
    for value in values:
        with pytest.raises(SettingError, match=f"^{name}=.*expected"):
            setattr(panel, name, value)
        assert f"{name}={value!r}" in panel.message and panel._settings == before


def test_a_bad_value_from_a_control_is_said_and_the_control_goes_back(panel: Panel) -> None:
    panel._controls.dials["rate_per_s"].value = -3.0
    until(lambda: "rate_per_s=-3.0" in panel.message)
    until(lambda: panel._controls.dials["rate_per_s"].value == 40)
    assert panel.errors == ""


def test_a_name_that_is_no_setting_is_refused(panel: Panel) -> None:
    with pytest.raises(AttributeError, match="no setting 'rate'; there are techniques, source, rate_per_s"):
        panel.rate = 3


def test_an_unknown_technique_lists_the_known_ones(lab: labkit.Lab, panel: Panel) -> None:
    with pytest.raises(UnknownTechnique, match="websocket"):
        panel.techniques = ["pigeon"]
    assert "pigeon" in panel.message
    with pytest.raises(UnknownTechnique):
        Panel(lab, ["pigeon"])


def test_numbers_of_numpy_are_numbers() -> None:
    import numpy as np

    assert check("rate_per_s", np.float64(3)) == 3.0 and check("payload_bytes", np.int64(7)) == 7


# -- a run -----------------------------------------------------------------------------------------------------------


def test_start_and_stop_give_a_run_that_lost_nothing(panel: Panel) -> None:
    panel.start()
    delivered(panel, 20)
    run = panel.stop()
    summary = run.summary()
    assert list(summary.index) == STREAMS
    assert (summary["events"] >= 20).all() and (summary[["lost", "duplicated", "out_of_order"]] == 0).all(axis=None)
    assert (run.deliveries["latency_ms"] >= 10).all()
    assert summary["payload_per_event"].tolist() == [20.0, 20.0]
    assert (summary["expected_mean_ms"] == 10).all()
    assert panel.run is run and not panel.running


@pytest.mark.timing
def test_run_for_acts_at_its_times(panel: Panel) -> None:
    run = panel.run_for(1.2, at={0.4: panel.cut, 0.7: panel.heal})
    assert (run.summary()[["lost", "duplicated"]] == 0).all(axis=None)
    assert (run.summary()["connections"] >= 2).all()
    assert run.settings["duration_s"] >= 1.2


@pytest.mark.timing
def test_a_stalled_link_delays_and_breaks_nothing(panel: Panel) -> None:
    times_s: list[float] = []

    def noted(act: Callable[[], object]) -> Callable[[], None]:
        return lambda: (act(), times_s.append(time.monotonic()))  # type: ignore[func-returns-value,return-value]

    run = panel.run_for(1.2, at={0.4: noted(panel.stall), 0.9: noted(panel.heal)})
    summary = run.summary()
    assert (summary["lost"] == 0).all() and (summary["connections"] == 1).all()
    assert (summary["max_ms"] >= 700 * (times_s[1] - times_s[0])).all()


@pytest.mark.parametrize(
    ("seconds", "at", "said"),
    [
        *((value, None, "seconds must be a number of seconds") for value in (None, "3", math.nan, -1, True)),
        (0.5, [1], "at=.*expected what to do by the second"),
        (0.5, {"1": print}, "at must be a number of seconds"),
        (0.5, {0.1: None}, "at=.*without"),  # {0.1: panel.cut()}
    ],
)
def test_what_run_for_cannot_do_is_said_before_it_starts(panel: Panel, seconds: Any, at: Any, said: str) -> None:
    with pytest.raises((DurationError, SettingError), match=f"^{said}"):
        panel.run_for(seconds, at=at)
    assert re.match(said, panel.message) and panel.draws == 0 and panel.run is None


@pytest.mark.parametrize("keep_events", [0, -1, None, "x", 1.5, math.nan, True])
def test_a_number_of_events_that_cannot_be_kept_is_refused(lab: labkit.Lab, keep_events: Any) -> None:
    with pytest.raises(SettingError, match=r"^keep_events=.*whole number"):
        Panel(lab, keep_events=keep_events)
    assert lab.attached == []


def test_run_for_stops_when_an_action_fails(panel: Panel) -> None:
    def fails() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        panel.run_for(5, at={0.1: fails})
    assert not panel.running and panel.run is not None


@pytest.mark.parametrize("source", [name for name in SOURCES if name != "none"])
def test_every_source_publishes(lab: labkit.Lab, source: str) -> None:
    panel = Panel(lab, ["sse"], source=source, rate_per_s=50, one_way_s=0)
    run = panel.run_for(1.0)
    assert run.summary().loc["sse", "events"] >= 8
    gaps_ms = run.deliveries["due_ns"].astype(float).diff().dropna() / 1e6
    if source == "periodic":
        assert gaps_ms.round(3).eq(20).all()
    if source == "burst":
        assert (gaps_ms == 0).sum() >= 8
    if source == "machine":
        assert run.deliveries["payload_bytes"].min() > 40


def test_without_a_source_only_what_is_published_by_hand_arrives(lab: labkit.Lab) -> None:
    panel = Panel(lab, ["sse"], source="none", one_way_s=0)
    panel.start()
    event_id = panel.publish("by hand")
    delivered_ids = lambda: panel._runs.live.arrived["sse"] == 1  # noqa: E731
    until(delivered_ids)
    run = panel.stop()
    assert run.deliveries[["event_id", "payload_bytes", "scheduled"]].values.tolist() == [[event_id, 7, True]]


def press(form: FormWidget, **values: str) -> None:
    """What its page sends when the button is pressed, or Enter."""
    form._handle_custom_msg({"pressed": {**form.values, **values}}, [])


def test_what_others_publish_arrives_and_has_no_latency(lab: labkit.Lab) -> None:
    panel = Panel(lab, ["sse"], source="none", one_way_s=0)
    panel.run_for(0.1)
    assert panel.figure.layout.title.text == "No delivery has arrived"
    panel.start()
    lab.publish("somebody else's")
    until(lambda: panel._runs.live is not None and panel._runs.live.arrived["sse"] == 1)
    panel.stop()
    assert panel.figure.layout.title.text == "No delivery that is shown has a latency"


def test_what_is_published_comes_with_the_press(panel: Panel) -> None:
    """Not from another message, which may be handled later than the press."""
    form = panel._controls.publish
    press(form, text="one")
    press(form, text="two")
    until(lambda: form.values == {"text": ""} and "Event 2 is published" in panel.message)
    press(form)
    until(lambda: "text box is empty" in panel.message)
    assert panel.lab.stats()["published"] == 2


def test_the_event_that_opens_is_the_one_that_was_asked_for(panel: Panel) -> None:
    panel.run_for(0.5)
    first, form = int(panel.run.deliveries["event_id"].min()), panel._controls.open
    with panel._lock:  # what is asked for waits for its turn
        press(form, event_id=str(first), technique="sse")
        panel.publish("another")
    until(lambda: panel.message == f"Event {first} over SSE is open below.")
    assert form.values == {"event_id": str(first), "technique": "sse"}


@pytest.mark.parametrize("text", ["", "x", "1.5", "-3", "9" * 5000])
def test_what_is_no_event_id_is_a_sentence(panel: Panel, text: str) -> None:
    press(panel._controls.open, event_id=text)
    until(lambda: "Type the id of an event first" in panel.message)
    assert panel.errors == ""


def test_a_run_that_cannot_be_read_leaves_a_panel_that_can_start_again(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel.start()
    delivered(panel, 2)

    def fails() -> None:
        raise LabkitError("the disk is full")

    monkeypatch.setattr(panel._runs.live, "snapshot", fails)
    with pytest.raises(LabkitError, match="disk"):
        panel.stop()
    assert panel.message == "the disk is full" and not panel.running and not panel.runs
    assert not hasattr(panel._controls.chart.children[0], "let_go")  # the plain figure, not the live one
    assert (panel.run_for(0.3).summary()["lost"] == 0).all()


@pytest.mark.timing
def test_delay_rate_and_payload_take_effect_at_once(panel: Panel) -> None:
    panel.start()
    delivered(panel, 5)
    panel.set(one_way_s=0.1, payload_bytes=300, rate_per_s=100)
    assert panel.message == ""
    delivered(panel, 40)
    run = panel.stop()
    changed_s = run.settings["changes"][0]["t_s"]
    late = run.deliveries[run.deliveries["due_ns"] > run.started_ns + (changed_s + 0.1) * 1e9]
    assert (late["latency_ms"] >= 100).all() and (late["payload_bytes"] == 300).all()
    assert (run.summary()["lost"] == 0).all()


def test_a_slow_source_heeds_a_new_rate_without_waiting_for_its_next_event(lab: labkit.Lab) -> None:
    panel = Panel(lab, ["sse"], rate_per_s=0.1, one_way_s=0, source="periodic")
    panel.start()
    panel.rate_per_s = 100
    until(lambda: panel._runs.live.arrived["sse"] >= 10, 3 * UNIT)
    panel.stop()


@pytest.mark.alone
def test_a_control_holds_within_a_second_at_a_thousand_events_a_second(lab: labkit.Lab) -> None:
    panel = Panel(lab, STREAMS, source="periodic", rate_per_s=1000, one_way_s=0)
    panel.start()
    until(lambda: panel._runs.live.publisher.count > 500)
    panel.set(rate_per_s=50, payload_bytes=300)
    live = panel._runs.live
    (change,) = live.changes
    enough_ns = live.started_ns + (change["t_s"] + 1.5) * 1e9
    until(lambda: max(due_ns for due_ns, _ in list(live.window.published.values())) > enough_ns)
    run = panel.stop()
    late = run.deliveries[run.deliveries["due_ns"] > run.started_ns + (change["t_s"] + 1) * 1e9]
    assert len(late) >= 20 and (late["payload_bytes"] == 300).all()
    for _, mine in late.groupby("technique"):
        assert (mine["due_ns"].astype(float).diff().dropna() == 20e6).all()


def test_a_slider_dragged_during_a_run_takes_effect_and_loses_nothing(panel: Panel) -> None:
    panel.start()
    for value in (0.02, 0.05, 0.09):
        panel._controls.dials["one_way_s"].value = value
    until(lambda: panel._runs.live.link.one_way_s == 0.09)
    panel._controls.source.value = "periodic"
    until(lambda: panel.source == "periodic")
    delivered(panel, 5)
    run = panel.stop()
    assert (run.summary()[["lost", "duplicated"]] == 0).all(axis=None) and panel.errors == ""
    assert run.settings["changes"][-1]["source"] == "periodic"


@pytest.mark.parametrize(
    ("technique", "name", "value"), [("polling", "poll_interval_s", 0.05), ("long-polling", "hold_s", 0.2)]
)
def test_what_needs_a_new_subscriber_says_so_and_loses_nothing(
    lab: labkit.Lab, technique: str, name: str, value: float
) -> None:
    panel = Panel(lab, [technique, "sse"], rate_per_s=50, one_way_s=0.01, poll_interval_s=0.2)
    panel.start()
    delivered(panel, 5)
    setattr(panel, name, value)
    assert panel.message == f"The {technique} subscriber started again, from its cursor: nothing is lost."
    delivered(panel, 10)
    run = panel.stop()
    assert (run.summary()[["lost", "duplicated"]] == 0).all(axis=None)
    assert run.summary()["expected_mean_ms"].isna().all()  # no one theory fits a run that was turned


def test_other_techniques_begin_another_run_and_keep_the_first(panel: Panel) -> None:
    panel.start()
    delivered(panel, 5)
    panel.techniques = ["http-streaming"]
    assert "another run" in panel.message and panel.running
    delivered(panel, 5)
    panel.stop()
    assert [run.settings["techniques"] for run in panel.runs] == [STREAMS, ["http-streaming"]]


def test_a_server_in_a_process_of_its_own() -> None:
    with labkit.Lab(process=True) as lab:
        run = Panel(lab, STREAMS, rate_per_s=40, one_way_s=0.01).run_for(0.6)
        assert (run.summary()["lost"] == 0).all() and len(run.deliveries) > 10


# -- one sentence, nothing hung --------------------------------------------------------------------------------------


def test_started_twice_is_a_sentence(panel: Panel) -> None:
    live = panel.start()._runs.live
    panel.start()
    assert "running already" in panel.message and panel._runs.live is live
    with pytest.raises(LabkitError, match="running already"):
        panel.run_for(1)


def test_faults_without_a_run_are_a_sentence(panel: Panel) -> None:
    for act in (panel.cut, panel.stall, panel.heal):
        act()
        assert "Nothing is running" in panel.message


def test_stop_explain_and_save_before_the_first_run_are_a_sentence(panel: Panel) -> None:
    for act in (panel.stop, lambda: panel.explain(1), panel.save):
        with pytest.raises(LabkitError, match="Nothing has run yet"):
            act()
        assert "Nothing has run yet" in panel.message


def test_an_event_that_is_not_there_is_a_sentence(panel: Panel) -> None:
    panel.run_for(0.3)
    press(panel._controls.open, event_id="999")
    until(lambda: "no event 999" in panel.message)
    assert panel.errors == ""


def test_a_lab_closed_during_a_run_ends_it_and_keeps_what_arrived(lab: labkit.Lab, panel: Panel) -> None:
    panel.start()
    delivered(panel, 5)
    lab.close()
    assert "lab was closed" in panel.message and not panel.running
    assert panel.run is not None and len(panel.run.deliveries) >= 10
    with pytest.raises(LabClosed, match=r"labkit\.Lab\(\)"):
        panel.start()
    assert "lab is closed" in panel.message
    with pytest.raises(LabClosed):
        Panel(lab)


def test_a_control_of_a_closed_panel_says_so_and_goes_back(lab: labkit.Lab, panel: Panel) -> None:
    lab.close()
    assert "panel is closed" in panel.message
    panel._controls.dials["rate_per_s"].value = 99.0
    until(lambda: "lab is closed" in panel.message)
    until(lambda: panel._controls.dials["rate_per_s"].value == 40)
    with pytest.raises(LabClosed):
        panel.rate_per_s = 3
    panel._controls.buttons["start"].click()
    panel._controls.buttons["cut"].click()
    until(lambda: "Nothing is running" in panel.message)
    assert panel.errors == "" and not panel.running


def test_a_closed_panel_looks_closed_and_says_how_to_have_it_back(lab: labkit.Lab, panel: Panel) -> None:
    def controls() -> list[Any]:
        """All that a hand can reach, whichever box it is in."""
        found, boxes = [], [panel._controls.box]
        while boxes:
            for child in getattr(boxes.pop(), "children", ()):
                boxes.append(child)
                found += [child] if hasattr(child, "disabled") else []
        return found

    assert len(controls()) == len(BUTTONS) + len(panel.lab.techniques) + len(DIALS) + 3
    assert not any(control.disabled for control in controls())
    lab.close()
    assert all(control.disabled for control in controls())
    assert "labkit-closed" in panel._controls.box._dom_classes
    assert "labkit.Lab() and labkit.Panel(lab) again" in panel._controls.says.value


def test_a_lab_that_another_takes_the_place_of_ends_its_run(lab: labkit.Lab, panel: Panel) -> None:
    panel.start()
    delivered(panel, 5)
    with labkit.Lab():
        assert "lab was closed" in panel.message and not panel.running
        assert len(panel.run.deliveries) >= 10  # type: ignore[union-attr]


def test_an_interrupt_while_a_run_ends_keeps_what_arrived(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupts = iter([signal.SIGINT])

    def settled(newest: object) -> bool:  # asked until the wait is over
        for interrupt in interrupts:
            os.kill(os.getpid(), interrupt)
        return False

    panel.start()
    delivered(panel, 5)
    (place,) = panel.lab.attached
    monkeypatch.setattr(place, "settle_s", 600.0)
    monkeypatch.setattr(place, "settled", settled)
    run = panel.stop()
    assert run.interrupted and len(run.deliveries) >= 10 and not panel.running


@pytest.mark.parametrize("what", [(Board, "feed"), (LiveCharts, "figure")])
def test_an_interrupt_beside_the_charts_of_a_run_that_ends_leaves_nothing_running(
    panel: Panel, monkeypatch: pytest.MonkeyPatch, what: tuple[type, str]
) -> None:
    home, name = what
    panel.start()
    delivered(panel, 5)
    live, kept, here = panel._runs.live, getattr(home, name), threading.current_thread()

    def interrupted(*given: object) -> object:
        if threading.current_thread() is here:
            raise KeyboardInterrupt
        return kept(*given)  # on the thread that draws

    monkeypatch.setattr(home, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        panel.stop()
    assert live is not None and live._ends is not None and live._ends.done() and not panel.running
    assert panel.run is not None and len(panel.run.deliveries) >= 10
    monkeypatch.undo()
    assert (panel.run_for(0.3).summary()["lost"] == 0).all()


def test_a_lab_whose_process_dies_is_said() -> None:
    with labkit.Lab(process=True) as lab:
        panel = Panel(lab, ["sse"], rate_per_s=50, one_way_s=0)
        panel.start()
        delivered(panel, 5)
        lab._server._process.kill()  # type: ignore[union-attr]
        until(lambda: "source has ended" in panel.message)
        assert len(panel.stop().deliveries) >= 5


def test_a_second_panel_of_a_lab_takes_the_place_of_the_first(lab: labkit.Lab) -> None:
    panels = [Panel(lab, ["sse"], rate_per_s=40) for _ in range(3)]
    panels[-1].start()
    fourth = Panel(lab, ["sse"])
    assert [panel.running for panel in (*panels, fourth)] == [False] * 4
    assert "closed" in repr(panels[-1])
    with pytest.raises(LabClosed):
        panels[0].start()


def test_measure_does_not_mind_a_panel(lab: labkit.Lab, panel: Panel) -> None:
    run = labkit.measure(lab, ["sse"], labkit.periodic(rate_per_s=20, duration_s=0.3))
    assert run.summary().loc["sse", "lost"] == 0


def test_an_unforeseen_error_of_a_callback_is_shown_with_its_traceback(
    panel: Panel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(LiveRun, "start", lambda self: 1 / 0)
    panel._controls.buttons["start"].click()
    until(lambda: "ZeroDivisionError" in panel.errors)
    assert panel.message.startswith("ZeroDivisionError: ")
    assert capsys.readouterr() == ("", "")
    monkeypatch.undo()
    panel._runs.live = None
    panel._controls.buttons["start"].click()
    until(lambda: panel.running)


def test_charts_that_cannot_open_leave_nothing_running(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LiveCharts, "open_widget", lambda self: 1 / 0)
    panel._controls.buttons["start"].click()
    until(lambda: "ZeroDivisionError" in panel.errors)
    assert not panel.running and not panel._controls.chart.children
    monkeypatch.undo()
    panel._controls.buttons["start"].click()
    until(lambda: panel.running)
    delivered(panel, 5)


def test_an_error_while_drawing_is_shown_and_the_run_goes_on(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LiveCharts, "draw", lambda self: 1 / 0)
    panel.start()
    until(lambda: "ZeroDivisionError" in panel.errors)
    delivered(panel, 5)
    monkeypatch.undo()
    assert len(panel.stop().deliveries) > 5


# -- callbacks and threads -------------------------------------------------------------------------------------------


def test_a_callback_on_a_thread_with_a_running_loop_of_its_own_only_hands_its_work_over(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on ipykernel 7.0 to 7.3, which calls back on a subshell's thread."""
    gate, start = threading.Event(), LiveRun.start
    monkeypatch.setattr(LiveRun, "start", lambda self: (gate.wait(10 * UNIT), start(self)))

    async def called_back() -> None:
        panel._controls.buttons["start"].click()
        panel._controls.dials["rate_per_s"].value = 80.0
        panel._controls.buttons["cut"].click()
        panel._controls.buttons["heal"].click()
        gate.set()  # comes to this although the start has not come back

    thread = threading.Thread(target=lambda: asyncio.run(called_back()))
    began_s = time.monotonic()
    thread.start()
    thread.join()
    assert time.monotonic() - began_s < 10 * UNIT
    until(lambda: panel.running and panel.message == "The link is whole.")
    assert panel.rate_per_s == 80
    panel._controls.buttons["start"].click()
    until(lambda: not panel.running)
    assert len(panel.runs) == 1 and panel.errors == ""


def test_a_panel_is_driven_from_a_coroutine_as_well(panel: Panel) -> None:
    async def cell() -> labkit.Run:
        panel.start()
        await asyncio.to_thread(delivered, panel, 5)
        return panel.stop()

    assert len(asyncio.run(cell()).deliveries) >= 10


def test_nothing_is_left_of_twenty_runs(panel: Panel) -> None:
    panel.rate_per_s = 200
    for _ in range(20):
        panel.start()
        panel.stop()
    assert len(panel.runs) == 5
    assert [t.name for t in threading.enumerate() if t.name in ("labkit-panel", "labkit-source")] == []


# -- bounds ----------------------------------------------------------------------------------------------------------


def counted(panel: Panel) -> dict[str, int]:
    """How many of everything a run holds."""
    live, board = panel._runs.live, panel._runs.drawn.board
    assert live is not None and board is not None
    subscriptions = live._subscriptions.values()
    records = [r for s in subscriptions for r in s.ledger.connections] + live.link.ledger.connections
    return {
        "published": len(live.window.published),
        "items": max(len(s.items) for s in subscriptions),
        "fresh": max(len(s.fresh) for s in subscriptions),
        "records": len(records),
        "bytes": max(r.held_bytes for r in records),
        "dots": max(len(dots) for dots in board.dots.values()),
        "rungs": len(board.rungs),
    }


@pytest.mark.alone
def test_at_a_thousand_events_a_second_nothing_grows_with_their_number(lab: labkit.Lab) -> None:
    panel = Panel(lab, STREAMS, rate_per_s=1000, one_way_s=0, keep_events=400)
    panel.start()
    until(lambda: panel._runs.live.publisher.count > 1500)
    early = counted(panel)
    until(lambda: panel._runs.live.publisher.count > 4500, 20 * UNIT)
    late = counted(panel)
    for count in (early, late):
        assert count["published"] <= 400
        assert count["items"] <= 400
        assert count["fresh"] <= 4096 and count["dots"] <= MOST_DOTS and count["rungs"] <= MOST_RUNGS
        assert count["records"] == 6 and count["bytes"] <= (256 << 10)
    run = panel.stop()
    summary = run.summary()
    assert run.settings["first_event_id"] > 3000
    assert 200 <= len(run.published) <= 400 and (summary["events"] == len(run.published)).all()
    assert (summary[["lost", "duplicated"]] == 0).all(axis=None)
    assert (summary["payload_per_event"].round(6) == 20).all()  # bytes of forgotten events are out of it too
    assert len(panel.figure.to_json()) < 60_000


def test_a_link_that_stays_cut_costs_no_memory(lab: labkit.Lab) -> None:
    panel = Panel(lab, ["long-polling"], rate_per_s=20, one_way_s=0, keep_events=20)
    panel.start()
    live = panel._runs.live
    live.window.page_s = 0.3
    for _ in range(8):
        panel.cut()
        time.sleep(0.15)  # how long it is cut
        panel.heal()
        until(lambda: live._subscriptions["long-polling"].connections_open == 1)
    delivered(panel, 40)
    until(lambda: len(live._subscriptions["long-polling"].ledger.connections) <= 6)
    assert panel.stop().summary().loc["long-polling", "lost"] == 0


def test_charts_are_drawn_at_most_so_often_whatever_the_rate(panel: Panel) -> None:
    panel.rate_per_s = 1000
    panel.start()
    began_s = time.monotonic()
    until(lambda: panel.draws >= 4, 10 * UNIT)
    assert panel.draws <= (time.monotonic() - began_s) * UPDATES_PER_S + 1
    assert UPDATES_PER_S <= 10


def test_a_burst_is_drawn_whole_and_a_flood_in_part(lab: labkit.Lab) -> None:
    live = LiveRun(lab, Settings(("sse",)))
    board, live.started_ns = Board(live), 0
    live.window.published.update({("", n): (n * 1000, n * 1000) for n in range(1, 5001)})
    board._dots("sse", [(n, n * 1000 + 5) for n in range(1, 51)])
    assert len(board.dots["sse"]) == 50 and board.left_out == 0
    slow = [(n, n * 1000 + (10**9 if n == 777 else 5)) for n in range(51, 5001)]
    board._dots("sse", slow)
    assert len(board.dots["sse"]) < 80 and 777 in [dot[2] for dot in board.dots["sse"]]
    assert len(board.dots["sse"]) + board.left_out == 5000


# -- charts, events, files -------------------------------------------------------------------------------------------


def test_the_live_chart_gives_way_to_a_plain_one(panel: Panel) -> None:
    panel.start()
    (widget,) = panel._controls.chart.children
    assert len(widget.library) > 1_000_000 and widget.comm is not None
    until(lambda: panel.draws >= 2)
    panel.stop()
    (output,) = panel._controls.chart.children
    assert widget.library == "" and widget.comm is None
    chart = output.outputs[0]["data"]["application/vnd.plotly.v1+json"]
    assert chart["layout"]["title"]["text"] and len(str(chart)) < 60_000
    assert "click" not in str(chart["layout"]["annotations"])  # a picture does not answer
    names = [trace["name"] for trace in chart["data"]]
    assert {"SSE", "WebSocket", "sse: theory", "published", "payload", "connections", "requests"} <= set(names)


@pytest.mark.timing
def test_theory_is_a_line_that_steps_with_the_delay_and_predictions_are_another(panel: Panel) -> None:
    labkit.predict("P1", 0.7, unit="s", poll_interval_s=0.2)
    panel.set(techniques=["polling", "sse"], poll_interval_s=0.2)
    panel.run_for(1.0, at={0.5: lambda: setattr(panel, "one_way_s", 0.1)})
    traces = {trace.name: trace for trace in panel.figure.data}
    assert [round(float(y)) for y in traces["sse: theory"].y] == [10, 10, 100, 100]
    assert [round(float(y)) for y in traces["polling: prediction"].y] == [700, 700]
    assert "sse: prediction" not in traces


@pytest.mark.timing
def test_a_prediction_is_drawn_while_the_dials_stand_as_its_question_says(panel: Panel) -> None:
    labkit.predict("P1", 0.7, unit="s", one_way_s=0.1)
    panel.set(techniques=["polling"], poll_interval_s=0.3)
    panel.run_for(0.6)
    assert "polling: prediction" not in [trace.name for trace in panel.figure.data]
    panel.run_for(1.0, at={0.5: lambda: setattr(panel, "one_way_s", 0.1)})
    (line,) = [trace for trace in panel.figure.data if trace.name == "polling: prediction"]
    assert [round(float(y)) for y in line.y] == [700, 700]


def test_the_title_of_the_plain_chart_is_about_the_dots_that_it_shows(panel: Panel) -> None:
    panel.run_for(0.6)
    assert panel._runs.drawn is not None
    board = panel._runs.drawn.board
    board.dots["sse"].appendleft((0.0, 3000.0, 1))  # a slow one, long ago
    board.now_s = SHOWN_S + 0.1
    assert max(panel.figure.data[0].y) < 3000 and "3\u202f000" not in panel.figure.layout.title.text
    assert panel.figure.layout.title.subtitle.text == "the last 20\u00a0s of the run"


def test_a_click_on_a_dot_opens_its_event(panel: Panel) -> None:
    panel.start()
    until(lambda: panel._runs.drawn is not None and len(panel._runs.drawn.board.dots["websocket"]) >= 5)
    due_s, latency_ms, event_id = panel._runs.drawn.board.dots["websocket"][2]
    (widget,) = panel._controls.chart.children
    points = {"trace_indexes": [1], "point_indexes": [2], "xs": [due_s], "ys": [latency_ms]}
    clicked = {"event_type": "plotly_click", "points": points, "device_state": None, "selector": None}
    message = {"method": "update", "state": {"_js2py_pointsCallback": clicked}, "buffer_paths": []}
    widget._handle_msg({"content": {"data": message}, "buffers": []})  # as the page sends it
    until(lambda: panel._controls.details.children)
    figure, text = panel._controls.details.children[0].outputs
    assert "application/vnd.plotly.v1+json" in figure["data"]
    assert f"Event {event_id} over websocket" in text["data"]["text/html"]
    for hop in ("client", "link.near", "link.far"):
        assert hop in text["data"]["text/plain"]
    assert panel.running


@pytest.mark.timing
@pytest.mark.parametrize("looks", [1, 20])
def test_bytes_are_booked_in_the_second_in_which_they_were_sent(lab: labkit.Lab, looks: int) -> None:
    live = LiveRun(lab, Settings(("websocket",), source="periodic", rate_per_s=40, one_way_s=0.0))
    live.start()
    board = Board(live)
    for _ in range(looks):
        time.sleep(3.4 / looks)
        board.feed(live.sample())
    live.stop()
    seconds = {second: sum(parts) for second, parts in board.bars}
    assert list(seconds) == [0, 1, 2, 3]
    assert seconds[2] == pytest.approx(seconds[1], rel=0.15)  # 40 events each
    assert seconds[3] == pytest.approx(0.4 * seconds[1], rel=0.5)


def test_streams_can_be_told_apart_where_they_coincide(lab: labkit.Lab) -> None:
    live = LiveRun(lab, Settings(("polling", "http-streaming", "sse", "websocket")))
    figure = LiveCharts(Board(live))._empty()
    dots = [trace.marker for trace in figure.data[:4]]
    assert [dot.symbol.endswith("-open") for dot in dots] == [False, True, True, False]
    assert dots[1].size > dots[2].size > dots[3].size == dots[0].size


def test_explain_is_the_same_from_code(panel: Panel) -> None:
    run = panel.run_for(0.5)
    event_id = int(run.deliveries["event_id"].median())
    assert panel.explain(event_id, "sse").text == run.explain(event_id, "sse").text
    assert panel.message == f"Event {event_id} over SSE is open below."


def test_save_writes_a_run_that_loads(panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = panel.run_for(0.4)
    path = panel.save(tmp_path / "mine.parquet")
    assert str(path) in panel.message
    assert labkit.load(path).summary().equals(run.summary())
    monkeypatch.chdir(tmp_path)
    panel._controls.buttons["save"].click()
    until(lambda: list(tmp_path.glob("run-*.parquet")))
    with pytest.raises(LabkitError, match="cannot be written"):
        panel.save(tmp_path / "no" / "where.parquet")


def test_reset_puts_everything_back(panel: Panel) -> None:
    panel.start()
    delivered(panel, 2)
    panel.set(rate_per_s=3, one_way_s=1, source="burst")
    panel.cut()
    panel.reset()
    assert (panel.rate_per_s, panel.one_way_s, panel.source, panel.techniques) == (40, 0.01, "poisson", tuple(STREAMS))
    assert panel._controls.dials["rate_per_s"].value == 40 and panel._controls.chart.children == ()
    assert not panel.running and len(panel.runs) == 1
    panel.run_for(0.3)
    assert (panel.run.summary()["lost"] == 0).all()  # the link is whole again


def test_without_a_chromium_charts_show_and_one_sentence_says_what_is_missing(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labkit.charts.pictures.find_chromium", lambda: None)
    panel.run_for(0.2)
    assert "No Chromium" in panel.message and len(panel._controls.chart.children) == 1
    panel.run_for(0.2)
    assert panel.message == ""


def test_subscribers_elsewhere_are_in_the_samples_and_in_the_run(lab: labkit.Lab) -> None:
    from labkit.lab.attached import Part

    class Page:
        techniques, settle_s, relay = ("sse",), 0.1, None
        natures: ClassVar[dict[str, Any]] = {}

        def settled(self, newest: Any) -> bool:
            return True

        def part(self, published: Any, since_ns: int) -> Part:
            rows = [dict(row, client="browser", technique="sse", subscriber=0) for row in told]
            rows = [{**row, **_times(published, row)} for row in rows if row["received_ns"] >= since_ns]
            return Part(rows, [], ["a page"], [])

        def lab_closes(self) -> None:
            pass

    def _times(published: Any, row: dict[str, Any]) -> dict[str, Any]:
        times = published.get(("", row["event_id"]))
        ms = None if times is None else (row["received_ns"] - times[0]) / 1e6
        return {"due_ns": times and times[0], "latency_ms": ms, "scheduled": times is not None}

    told: list[dict[str, Any]] = []
    lab.attached.append(Page())  # type: ignore[arg-type]
    panel = Panel(lab, ["websocket"], source="none", one_way_s=0)
    panel.start()
    event_id = panel.publish("x")
    told.append({"event_id": event_id, "received_ns": time.perf_counter_ns(), "topic": ""})
    until(lambda: len(panel._runs.drawn.board.dots["sse (browser)"]) == 1)
    run = panel.stop()
    assert set(run.deliveries["client"]) == {"kernel", "browser"}
    assert run.settings["notes"] == ["a page"]


@pytest.mark.parametrize(("page", "widget"), [("panel.js", DialWidget), ("panel_form.js", FormWidget)])
def test_a_widget_has_every_trait_that_its_page_reads(page: str, widget: type[DialWidget | FormWidget]) -> None:
    source = (Path(labkit.__file__).parent / "room" / page).read_text(encoding="utf-8")
    read = {part.split('"')[1] for part in source.split("model.get(")[1:] if part.startswith('"')}
    assert read and read <= set(widget.class_traits())
