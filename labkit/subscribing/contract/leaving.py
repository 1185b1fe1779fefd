"""Leaving: whoever goes is forgotten at once, however it goes."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace

from labkit.client.tls import ALPN
from labkit.lab.lab import Lab
from labkit.sockets import RESET
from labkit.subscribing.contract.promise import BOTH, Trial, is_held, promise, publish, tasks_of, url_at
from labkit.subscribing.contract.receiver import Receiver
from labkit.subscribing.contract.relay import CountingRelay

GROUP = "leaving"


@promise(GROUP, "A subscriber that leaves is forgotten at once.", why_not=is_held, fanouts=BOTH)
def forgotten_at_once(trial: Trial) -> None:
    with trial.lab() as lab:
        publish(lab, 1)
        before = tasks_of(trial.technique)
        with trial.attach(lab, after="0") as receiver:
            receiver.wait_for(1)
            trial.until(lambda: lab.stats()["subscribers"] == 1, "the lab has its subscriber")
        trial.until_forgotten(lab, trial.soon_s)
        trial.until(lambda: tasks_of(trial.technique) <= before, "what its handler has begun ends", trial.soon_s)


def first_bytes(trial: Trial, lab: Lab) -> bytes:
    """What its client sends to subscribe, byte for byte; where that is TLS, what it would send in clear."""
    technique = trial.technique
    if lab.cafile is not None:
        in_clear = replace(trial, tls=False)
        with in_clear.lab() as other:
            return first_bytes(in_clear, other)
    with CountingRelay(lab.ports[technique.port]) as relay:
        with Receiver(technique, url_at(lab, technique, relay.port), **trial.how()):
            trial.until(lambda: lab.stats()["subscribers"] == 1, "its client subscribes")
            sent = next(iter(relay.up.values()))
    trial.until_forgotten(lab, 10 * trial.soon_s)
    return sent


@contextlib.contextmanager
def raw_client(
    trial: Trial, lab: Lab, sent: bytes, *, receive_buffer_bytes: int | None = None
) -> Iterator[socket.socket]:
    """A bare socket that has sent those bytes, and is subscribed."""
    port = trial.technique.port
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket())
        if receive_buffer_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        sock.settimeout(trial.patience_s)
        sock.connect(("127.0.0.1", lab.ports[port]))
        if url_at(lab, trial.technique, lab.ports[port]).startswith("https:"):
            context = ssl.create_default_context(cafile=lab.cafile)
            context.set_alpn_protocols([ALPN[trial.http]])
            sock = stack.enter_context(context.wrap_socket(sock, server_hostname="127.0.0.1"))
        sock.sendall(sent)
        trial.until(lambda: lab.stats()["subscribers"] == 1, "a client that sends the same bytes is subscribed")
        yield sock


def reset(sock: socket.socket) -> None:
    """Close with a reset instead of a FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


WAYS: tuple[Callable[[socket.socket], None], ...] = (
    socket.socket.close,
    reset,
    lambda sock: sock.shutdown(socket.SHUT_WR),
)


@promise(GROUP, "A raw client that closes, resets or half-closes is forgotten at once.", why_not=is_held, fanouts=BOTH)
def raw_client_goes(trial: Trial) -> None:
    with trial.lab() as lab:
        sent = first_bytes(trial, lab)
        for go in WAYS:
            with raw_client(trial, lab, sent) as sock:
                go(sock)
                trial.until_forgotten(lab, trial.soon_s)


PROMISES = (forgotten_at_once, raw_client_goes)
