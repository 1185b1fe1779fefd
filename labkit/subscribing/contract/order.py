"""Order, and once: everything arrives, as it was published, one time."""

from __future__ import annotations

from labkit.subscribing.contract.promise import BOTH, Trial, promise, publish, publish_at_once
from labkit.subscribing.contract.receiver import Receiver
from labkit.subscribing.contract.waiting import require, settle

GROUP = "order, and once"

# a text, or bytes, that some carrier, parser or terminal has tripped over
AWKWARD: tuple[str | bytes, ...] = (
    "plain",
    "",
    "한국어, naïve, Ωmega, 𝄞",
    "a\nb",
    "a\rb",
    "a\r\nb\n\n",
    "\n",
    "\r",
    " leading blank",
    "line\u2028separator\u2029",
    "nul \0 inside",
    "</script><!-- & \" ' \\ -->",
    '{"id":1,"data":"not an envelope"}',
    "data: x\nid: 9\n\nevent: gap",
    "--labkit-event\r\n",
    "\ufeffbom",
    ":",
    b"\0\x01\xff\xfe\r\n\x80",
    b"",
    b"ascii bytes",
    "x" * 5000,
)
NUMBER = 200
DATA = [AWKWARD[n % len(AWKWARD)] for n in range(NUMBER)]


def check_all(receiver: Receiver, expected: list[str | bytes]) -> None:
    """Everything published since the topic's first event has come: in order, once, unchanged, with no gap."""
    ids, wanted = receiver.ids, list(range(1, len(expected) + 1))
    lost, twice = sorted(set(wanted) - set(ids)), sorted({n for n in ids if ids.count(n) > 1})
    require(not lost, f"{len(lost)} of {len(wanted)} events are lost, the first is {lost[:1]}")
    require(not twice, f"events that came twice: {twice[:10]}")
    require(not receiver.held_back, f"came again, and were held back by the client: {receiver.held_back}")
    require(ids == wanted, f"out of order: {ids[:20]}")
    require(not receiver.gaps, f"a gap, though nothing is lost: {receiver.gaps[:1]}")
    altered = [d for d, data in zip(receiver.deliveries, expected, strict=True) if d.data != data]
    require(not altered, f"altered: {[(d.data[:40], expected[d.event_id - 1][:40]) for d in altered[:1]]}")
    cursors = {d.cursor for d in receiver.deliveries}
    require(len(cursors) == len(expected), "two events have the same cursor")


@promise(GROUP, "Every event arrives once, in order and unchanged.", fanouts=BOTH)
def every_event_once(trial: Trial) -> None:
    with trial.lab() as lab, trial.attach(lab) as receiver:
        for data in DATA[:50]:
            lab.publish(data)
        receiver.wait_until(50)
        for data in DATA[50:]:
            lab.publish(data)
        receiver.wait_until(NUMBER)
        check_all(receiver, DATA)


@promise(GROUP, "A burst longer than the queue loses nothing for a subscriber that reads.", fanouts=BOTH)
def burst(trial: Trial) -> None:
    with trial.lab(queue=8, slow="disconnect") as lab, trial.attach(lab) as receiver:
        publish(lab, 1)
        receiver.wait_until(1)
        settle()  # whoever serves it waits again: it is not slow
        publish_at_once(lab, 100)
        receiver.wait_until(101)
        check_all(receiver, [""] * 101)
        require(lab.stats()["disconnected"] == 0, "it was disconnected as slow")


@promise(GROUP, "Topics are apart, each with ids of its own.")
def topics_apart(trial: Trial) -> None:
    with (
        trial.lab() as lab,
        trial.attach(lab, topic="a&b ü") as one,
        trial.attach(lab, topic="c") as other,
    ):
        lab.publish("1", "a&b ü")
        lab.publish("2", "c")
        lab.publish("3", "a&b ü")
        one.wait_for(2)
        other.wait_for(1)
        for receiver, wanted in ((one, [(1, "1"), (2, "3")]), (other, [(1, "2")])):
            got = [(d.event_id, d.data) for d in receiver.deliveries]
            require(got == wanted, f"of topic {receiver.options['topic']!r} came {got}, published was {wanted}")


PROMISES = (every_event_once, burst, topics_apart)
