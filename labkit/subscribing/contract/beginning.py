"""Where it begins: what a cursor means at the start, and what is told when it cannot be continued from."""

from __future__ import annotations

from labkit.subscribing.contract.promise import Trial, epoch_of, promise, publish, streams
from labkit.subscribing.contract.receiver import Receiver
from labkit.subscribing.contract.waiting import UNIT_S, require
from labkit.wire.events import Gap

GROUP = "where it begins, and gaps"
NO_CURSORS_OF_IT = ("3@{epoch}", "3", "0@{epoch}", "999@{epoch}", "999", "18@zzzz", "0@zzzz")
"""Of a topic that holds 16 to 20: older than what is held, newer than the newest, of another epoch."""


def check(receiver: Receiver, ids: list[int], gaps: list[Gap]) -> None:
    after = receiver.after
    require(
        receiver.gaps == gaps, f"after {after!r} it tells {receiver.gaps or 'no gap'}, to be told: {gaps or 'none'}"
    )
    require(receiver.ids == ids, f"after {after!r} it brings {receiver.ids}, to be brought: {ids}")
    require(not receiver.held_back, f"after {after!r} it brings again what it had brought: {receiver.held_back}")


@promise(GROUP, "A cursor that cannot be continued from is a gap, told first and at once.")
def gap_first(trial: Trial) -> None:
    for unknown in NO_CURSORS_OF_IT:
        with trial.lab(history_events=5) as lab:
            publish(lab, 20)
            gap = Gap(unknown.format(epoch=epoch_of(lab)), 16, f"15@{epoch_of(lab)}")
            with trial.attach(lab, after=gap.after) as receiver:
                receiver.wait_until(20)
                check(receiver, [16, 17, 18, 19, 20], [gap])
                require(receiver.items[0] == gap, f"the gap comes after {receiver.items[0]}")
                lab.publish("and on")
                receiver.wait_until(21)
                check(receiver, [16, 17, 18, 19, 20, 21], [gap])


@promise(GROUP, "A gap is told at once where nothing is held, too.")
def gap_with_nothing_held(trial: Trial) -> None:
    with trial.lab() as lab, trial.attach(lab, after="7@zzzz", topic="unheard of") as receiver:
        gap = Gap("7@zzzz", 1, f"0@{epoch_of(lab)}")
        receiver.wait(lambda: receiver.items, "the gap")
        check(receiver, [], [gap])
        lab.publish("first", "unheard of")
        receiver.wait_until(1)
        check(receiver, [1], [gap])


@promise(GROUP, "A bare 0 is everything that is held, and never a gap.")
def everything_held(trial: Trial) -> None:
    with trial.lab(history_events=5) as lab:
        publish(lab, 20)
        with trial.attach(lab, after="0") as receiver:
            receiver.wait_until(20)
            check(receiver, [16, 17, 18, 19, 20], [])


@promise(GROUP, "A cursor at the newest event is no gap.")
def newest_is_no_gap(trial: Trial) -> None:
    with trial.lab(history_events=5) as lab:
        publish(lab, 20)
        with trial.attach(lab, after=lab.cursor()) as receiver:
            lab.publish("next")
            receiver.wait_until(21)
            check(receiver, [21], [])


@promise(GROUP, "A stream says where it begins before anything else.", why_not=streams)
def says_where_it_begins(trial: Trial) -> None:
    with trial.lab() as lab:
        publish(lab, 3)
        with trial.attach(lab, after=None) as receiver:
            receiver.wait(lambda: receiver.begins, "where it begins")
            require(receiver.begins == [lab.cursor()], f"it begins at {lab.cursor()}, and says {receiver.begins}")
            check(receiver, [], [])
            lab.publish("4")
            receiver.wait_until(4)
            check(receiver, [4], [])


@promise(GROUP, "A topic nobody has published to has the cursor 0, and listening to it makes no log.")
def listening_makes_no_log(trial: Trial) -> None:
    with trial.lab() as lab:
        cursor = f"0@{epoch_of(lab)}"
        with trial.attach(lab, after=None, topic="unheard of", hold_s=0.05 * UNIT_S) as receiver:
            receiver.wait(lambda: receiver.begins, "where it begins")
            require(receiver.begins == [cursor], f"it begins at {cursor}, and says {receiver.begins}")
            require(lab.stats()["topics"] == 0, "listening has made a log")
        trial.until_forgotten(lab)
        require(lab.cursor("unheard of") == cursor, f"the topic's cursor is {lab.cursor('unheard of')} then")


PROMISES = (
    gap_first,
    gap_with_nothing_held,
    everything_held,
    newest_is_no_gap,
    says_where_it_begins,
    listening_makes_no_log,
)
