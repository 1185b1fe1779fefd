"""The pipe between a lab and its process: messages, and calls that end whether or not they are answered.

Messages are pickles with a length before them; both ends are the same program of the same user.
"""

from __future__ import annotations

import pickle
import queue
import struct
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import IO, Any

LENGTH = struct.Struct("!I")
ANSWER_S = 10.0  # what a call may take
AGAIN_S = 0.5  # the same for one behind another that has taken too long already
LOOK_S = 1.0  # bounded waits, so that Ctrl-C is seen on Windows as well


def send(pipe: IO[bytes], message: Any) -> None:
    data = pickle.dumps(message)
    pipe.write(LENGTH.pack(len(data)) + data)
    pipe.flush()


def receive(pipe: IO[bytes]) -> Any:
    """The next message. Raises EOFError when the other end is gone."""
    return pickle.loads(receive_raw(pipe))


def receive_raw(pipe: IO[bytes]) -> bytes:
    """The next message as it came, which may be of a class that is not known here."""
    head = pipe.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    (size,) = LENGTH.unpack(head)
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


class Unanswered(Exception):
    """No answer in time. ``sent`` is False where the message was not sent, and never will be."""

    def __init__(self, *, sent: bool) -> None:
        super().__init__(sent)
        self.sent = sent


class Calls:
    """Round trips, one after another, on a thread of their own.

    So whoever calls may be interrupted, or give up, at any moment: no half message is left in the pipe, and an answer
    that comes late is read by the trip that asked for it, and never taken for the next one's.
    """

    def __init__(self, to: IO[bytes], answers: IO[bytes]) -> None:
        self._to, self._answers = to, answers
        self._asked: queue.SimpleQueue[tuple[Any, Future[Any]] | None] = queue.SimpleQueue()
        self._since_s: float | None = None  # when the trip that is under way began
        # a daemon: the interpreter must not wait for a process that stands still
        self._thread = threading.Thread(target=self._travel, name="labkit-child", daemon=True)
        self._thread.start()

    def call(self, message: Any, answer_s: float | None = None) -> Any:
        """Send *message* and wait for its answer, at most *answer_s* seconds. From any thread.

        Raises:
            Unanswered: not within that time.
            EOFError, OSError, ValueError: the other end is gone, or this one.
        """
        since_s, began_s, answer = self._since_s, time.monotonic(), Future[Any]()
        silent_s = 0.0 if since_s is None else began_s - since_s
        give_up_s = began_s + max(AGAIN_S, (ANSWER_S if answer_s is None else answer_s) - silent_s)
        self._asked.put((message, answer))
        try:
            while not answer.done():
                if not self._thread.is_alive():
                    raise EOFError
                if (left_s := give_up_s - time.monotonic()) <= 0:
                    raise Unanswered(sent=not answer.cancel())
                with suppress(TimeoutError):
                    answer.exception(min(left_s, LOOK_S))
            return answer.result()
        finally:
            answer.cancel()  # of one that was interrupted before its turn, nothing is sent
            del answer  # or an error would keep itself alive, by this frame in its traceback

    def end(self, timeout_s: float) -> bool:
        """Finish what was asked, then end the thread; whether that was done in time."""
        self._asked.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _travel(self) -> None:
        while (asked := self._asked.get()) is not None:
            message, answer = asked
            if answer.set_running_or_notify_cancel():
                self._since_s = time.monotonic()
                try:
                    send(self._to, message)
                    value = receive(self._answers)
                except BaseException as error:
                    self._since_s = None
                    answer.set_exception(error)
                else:
                    self._since_s = None
                    answer.set_result(value)
                    del value
            del asked, message, answer  # an event may be large, and the next one far off
