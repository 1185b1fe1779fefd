"""Resuming: a cursor is all that a client needs to go on, over a cut link and with any other technique."""

from __future__ import annotations

from labkit.subscribing.contract.order import DATA, NUMBER, check_all
from labkit.subscribing.contract.promise import QUICK, Trial, promise, publish, trusting, url_at
from labkit.subscribing.contract.receiver import Receiver, check_marks
from labkit.subscribing.contract.relay import CountingRelay
from labkit.subscribing.contract.waiting import require

GROUP = "resuming"
FIRST_BYTES, MORE_BYTES = 600, 1500  # what passes before the first cut, and how much more before each later one
MORE_OF_UNITS_BYTES = 5000  # nothing is read of a record, or a frame of HTTP/2, that is not whole: 16 KiB at most


@promise(GROUP, "A link that is cut again and again loses nothing and brings nothing twice.")
def cut_link(trial: Trial) -> None:
    technique = trial.technique
    with trial.lab() as lab:
        first = lab.cursor()
        for data in DATA[:100]:
            lab.publish(data)
        more_bytes = MORE_OF_UNITS_BYTES if trial.tls or trial.http == 2 else MORE_BYTES
        # in the middle of whatever that byte is in, later and later
        with CountingRelay(lab.ports[technique.port], cut_after=lambda n: FIRST_BYTES + n * more_bytes) as relay:
            url = url_at(lab, technique, relay.port)
            options = {**technique.taken_of(QUICK), **trusting(lab), **trial.how()}
            with Receiver(technique, url, after=first, resumes=True, **options) as receiver:
                receiver.wait_until(100)
                for data in DATA[100:]:
                    lab.publish(data)
                receiver.wait_until(NUMBER)
                check_all(receiver, DATA)
                require(len(relay.down) > 3, f"it was cut too seldom: {len(relay.down) - 1}")
            for record in receiver.ledger.connections:
                check_marks(record)
        trial.until_forgotten(lab)


@promise(GROUP, "The cursor of one technique is good for any other of the same lab.")
def cursor_for_any_other(trial: Trial) -> None:
    with trial.lab() as lab:
        publish(lab, 10)
        with trial.attach(lab, after="0", stop_after=4) as receiver:
            receiver.wait_end()
        require(receiver.items, f"nothing came: {receiver!r}")
        cursor = receiver.items[-1].cursor
        for other in lab.techniques:
            with trial.attach(lab, other, after=cursor) as going_on:
                going_on.wait_until(10)
                require(
                    going_on.ids == [5, 6, 7, 8, 9, 10] and not going_on.gaps,
                    f"{other.name} after its cursor {cursor!r} of event 4 brings {going_on.ids}, {going_on.gaps}",
                )
                again = going_on.held_back
                require(
                    not again,
                    f"{other.name} after its cursor {cursor!r} of event 4 brings {again} again",
                )


PROMISES = (cut_link, cursor_for_any_other)
