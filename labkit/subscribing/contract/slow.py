"""Slow subscribers: what each policy of the lab means to a reader that stalls, and what a stalled one costs others."""

from __future__ import annotations

from typing import Any

from labkit.lab.lab import Lab
from labkit.server.subscriber import BLOCK_BYTES
from labkit.subscribing.contract.leaving import first_bytes, raw_client
from labkit.subscribing.contract.promise import (
    BOTH,
    FOREVER_S,
    Trial,
    conflates,
    epoch_of,
    is_held,
    polls,
    promise,
    publish,
    publish_at_once,
    streams,
)
from labkit.subscribing.contract.receiver import Receiver
from labkit.subscribing.contract.waiting import UNIT_S, require, settle
from labkit.techniques import Technique
from labkit.wire.events import Gap

GROUP = "slow subscribers, bounded memory"
SIZE = 20_000
MANY = 900  # 18 MB: more than the kernel's buffers of one connection take
LARGE = 20 << 20


def stalled(trial: Trial, lab: Lab, **options: Any) -> Receiver:
    """A subscriber that has read the first event, reads no more, and has been sent more than it can take."""
    receiver = trial.attach(lab, pause_after=1, **options)
    publish(lab, 1, SIZE)
    receiver.wait_for(1)
    settle()  # whoever serves it waits again: it is not slow
    turns = 2 if trial.http == 1 else 8  # a block is cut into frames, each of which is written in its own turn
    for count in (49,) + (50,) * (MANY // 50 - 1):
        publish_at_once(lab, count, SIZE)
        settle(2 + turns * count * SIZE // BLOCK_BYTES)  # fan-out, and turns for each block of whom it has woken
    return receiver


def check_gaps(lab: Lab, receiver: Receiver) -> int:
    """Every hole in the ids has its gap just before it, and there is no other gap. Returns how many ids it has lost."""
    last, lost, told, epoch = 0, 0, None, epoch_of(lab)
    require(not receiver.held_back, f"came again, and were held back by the client: {receiver.held_back}")
    for item in receiver.items:
        if isinstance(item, Gap):
            told = item
            continue
        hole = item.event_id - last - 1
        require(hole >= 0, f"event {item.event_id} after {last}")
        wanted = Gap(f"{last}@{epoch}", item.event_id, f"{item.event_id - 1}@{epoch}") if hole else None
        require(told == wanted, f"before event {item.event_id}, after {last}: it tells {told}, to be told: {wanted}")
        lost += hole
        last, told = item.event_id, None
    require(told is None, f"a gap with nothing after it: {told}")
    return lost


def check_lost(lab: Lab, receiver: Receiver) -> None:
    """What a reader has missed while it stalled is told, is what the lab has dropped, and is most of it."""
    lost, dropped = check_gaps(lab, receiver), lab.stats()["dropped"]
    require(lost == dropped, f"{lost} are lost to it, and the lab has dropped {dropped}")
    require(lost > 100, f"{MANY} events of {SIZE} bytes were kept for a reader that stalls, but for {lost}")


@promise(GROUP, "drop-oldest: a stalled reader gets the newest, and is told the gap.", why_not=streams, fanouts=BOTH)
def drop_oldest(trial: Trial) -> None:
    queue = 16
    with trial.lab(slow="drop-oldest", queue=queue, history_bytes=1 << 30) as lab:
        with stalled(trial, lab) as receiver:
            receiver.resume()
            receiver.wait_until(MANY)
            check_lost(lab, receiver)
            newest = set(range(MANY - queue + 1, MANY + 1))
            require(newest <= set(receiver.ids), f"of the newest {queue} it lacks {sorted(newest - set(receiver.ids))}")
            delivered = lab.stats()["delivered"]
            require(delivered == len(receiver.ids), f"{len(receiver.ids)} came, the lab counts {delivered}")


@promise(GROUP, "drop-newest: a stalled reader gets the oldest, and is told the gap.", why_not=streams, fanouts=BOTH)
def drop_newest(trial: Trial) -> None:
    with trial.lab(slow="drop-newest", queue=16, history_bytes=1 << 30) as lab:
        with stalled(trial, lab) as receiver:
            receiver.resume()
            newest = MANY

            def has_caught_up() -> bool:
                nonlocal newest
                if receiver.last_id == newest:
                    return True
                if receiver.last_id < newest:
                    newest = lab.publish("after the stall")  # while it is full, this is lost to it as well
                return False

            trial.until(has_caught_up, "it goes on from the newest when it has read what was kept for it")
            check_lost(lab, receiver)


@promise(GROUP, "disconnect: a stalled reader is sent away; resuming finds what is held.", why_not=streams)
def disconnect(trial: Trial) -> None:
    held = 256  # more than is published before it is looked at again: what it works through is not let go of
    with trial.lab(slow="disconnect", queue=16, history_events=held) as lab:
        with stalled(trial, lab, retry_s=FOREVER_S) as receiver:
            receiver.resume()
            if trial.technique.resumes and receiver.ledger.connections:
                first = receiver.ledger.connections[0]
                trial.until(lambda: first.closed_ns is not None, "its connection is ended")
            else:
                receiver.wait(lambda: receiver.ended or receiver.last_id == MANY, "the client's end")
            sent_away = lab.stats()["disconnected"]
            require(sent_away == 1, f"{sent_away} were sent away as slow; {MANY} events of {SIZE} bytes had been kept")
            require(check_gaps(lab, receiver) == 0, "it lost events before it was sent away")
            last = receiver.deliveries[-1]
        with trial.attach(lab, after=last.cursor) as again:
            again.wait_until(MANY)
            oldest = MANY - held + 1
            wanted = [Gap(last.cursor, oldest, f"{oldest - 1}@{epoch_of(lab)}")]
            require(again.gaps == wanted, f"resuming after {last.cursor} it tells {again.gaps}, to be told: {wanted}")
            require(
                again.ids == list(range(oldest, MANY + 1)), f"resuming, it finds {again.ids[:1]} to {again.last_id}"
            )


def check_conflated(trial: Trial, lab: Lab, **options: Any) -> None:
    with stalled(trial, lab, **options) as receiver:
        receiver.resume()
        receiver.wait_until(MANY)
        require(not receiver.gaps, f"a gap, though it was asked for: {receiver.gaps[:1]}")
        require(receiver.ids == sorted(set(receiver.ids)), f"out of order or twice: {receiver.ids}")
        conflated, wanted = lab.stats()["conflated"], MANY - len(receiver.ids)
        require(conflated == wanted and wanted > 100, f"{wanted} did not come, the lab has conflated {conflated}")


@promise(GROUP, "conflate: a stalled reader goes on with the newest, and no gap is told.", why_not=streams)
def conflate(trial: Trial) -> None:
    with trial.lab(slow="conflate", history_events=64) as lab:
        check_conflated(trial, lab)


def streams_that_conflate(technique: Technique) -> str | None:
    return streams(technique) or conflates(technique)


@promise(GROUP, "A subscriber may ask for that itself, with conflate=True.", why_not=streams_that_conflate)
def conflate_on_request(trial: Trial) -> None:
    with trial.lab(slow="drop-oldest", history_events=64) as lab:
        check_conflated(trial, lab, conflate=True)


@promise(GROUP, "unbounded: a stalled reader loses nothing; what it has read is let go.", why_not=streams)
def unbounded(trial: Trial) -> None:
    held = 64
    with trial.lab(slow="unbounded", queue=16, history_events=held) as lab:
        with stalled(trial, lab) as receiver:
            receiver.resume()
            receiver.wait_until(MANY)
            lost = check_gaps(lab, receiver)
            require(lost == 0 and not receiver.gaps, f"{lost} of {MANY} are lost")
            publish(lab, 200)
            receiver.wait_until(MANY + 200)
            newest = lab.publish("one more")

            def is_let_go() -> bool:
                with trial.attach(lab, after="0") as later:
                    later.wait_until(newest)
                    return len(later.ids) < 2 * held

            trial.until(is_let_go, "the lab's bounds rule again when the reader has caught up")


@promise(GROUP, "What a poll has missed shares one answer, or is only the newest with conflate=True.", why_not=polls)
def one_answer(trial: Trial) -> None:
    with trial.lab() as lab:
        publish(lab, 10)
        start = f"0@{epoch_of(lab)}"
        with trial.attach(lab, after=start) as plain:
            plain.wait_until(10)
            require(plain.ids == list(range(1, 11)), f"of 10 came {plain.ids}")
            answers = sum(record.responses for record in plain.ledger.connections)
            require(answers <= 2, f"10 events took {answers} answers")
        if conflates(trial.technique) is None:
            with trial.attach(lab, after=start, conflate=True) as conflating:
                conflating.wait_until(10)
                require(conflating.ids == [10] and not conflating.gaps, f"conflated: {conflating.items}")


@promise(GROUP, "A stalled subscriber does not slow another.", why_not=streams)
def slows_nobody(trial: Trial) -> None:
    with trial.lab(slow="drop-oldest") as lab:
        with trial.attach(lab, pause_after=1) as slow, trial.attach(lab) as well:
            publish(lab, 1, SIZE)
            slow.wait_for(1)
            for batch in range(1, 11):
                publish(lab, MANY // 10, SIZE)
                well.wait_until(1 + MANY // 10 * batch)
            wanted = list(range(1, MANY + 2))
            require(well.ids == wanted and not well.gaps, f"beside it {len(well.ids)} of {len(wanted)} came")
            require(len(slow.ids) == 1, "the reader that was to stall has read on")


@promise(GROUP, "A peer that never reads is let go.", why_not=is_held, fanouts=BOTH)
def never_reads(trial: Trial) -> None:
    large = MANY * SIZE
    with trial.lab(write_timeout_s=0.1 * UNIT_S, max_event_bytes=large) as lab:
        sent = first_bytes(trial, lab)
        with raw_client(trial, lab, sent, receive_buffer_bytes=4096):
            if trial.technique.kind == "hold":  # one answer: only a large event is more than its connection takes
                publish(lab, 1, large)
            publish(lab, MANY, SIZE)
            trial.until_forgotten(lab, 10 * trial.soon_s)


@promise(GROUP, "A peer that leaves one large event unread is let go.", why_not=streams)
def leaves_one_unread(trial: Trial) -> None:
    options = {"write_timeout_s": 0.1 * UNIT_S, "heartbeat_s": 0.2 * UNIT_S, "max_event_bytes": 2 * LARGE, "mss": None}
    with trial.lab(**options) as lab:
        sent = first_bytes(trial, lab)
        with raw_client(trial, lab, sent, receive_buffer_bytes=4096):
            settle()  # whoever serves it has said where it begins, and waits
            publish(lab, 1, LARGE)
            trial.until_forgotten(lab, 10 * trial.soon_s)


PROMISES = (
    drop_oldest,
    drop_newest,
    disconnect,
    conflate,
    conflate_on_request,
    unbounded,
    one_answer,
    slows_nobody,
    never_reads,
    leaves_one_unread,
)
