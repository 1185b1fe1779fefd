"""What a run publishes: the events of its source, each when it is due, from a thread of its own.

That thread waits for nobody but the lab, so a publisher that falls behind publishes late and says when it should have
(coordinated omission).
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable

from labkit.errors import LabkitError
from labkit.lab.lab import Lab
from labkit.measuring.source import Source, Timetable


class Publisher:
    """Publishes what *source* hands over, and keeps when each event was due.

    Attributes:
        published: (topic, id) -> (due_ns, published_ns), as far as it has come, or as far back as its keeper looks.
        newest: topic -> the newest id.
        count: how many it published.
        failure: why it ended before its time.
        raised: what somebody's own code raised instead of giving an event.
        ended: done when it publishes no more.
    """

    def __init__(self, lab: Lab, source: Source | Timetable, on_event: Callable[[int, int, int], None]) -> None:
        self.published: dict[tuple[str, int], tuple[int, int]] = {}
        self.newest: dict[str, int] = {}
        self.count = 0
        self.failure: str | None = None
        self.raised: Exception | None = None
        self.ended: concurrent.futures.Future[bool] = concurrent.futures.Future()
        self._lab, self._source, self._on_event = lab, source, on_event

    def start(self, started_ns: int) -> None:
        """Publish from now on; the run begins at *started_ns*."""
        self.ended.set_running_or_notify_cancel()  # whoever waits for it may give up, and nothing comes of that
        # a daemon: the lab may not answer to an event, and the interpreter does not wait for it
        threading.Thread(target=self._publish_all, args=(started_ns,), name="labkit-source", daemon=True).start()

    def stop(self) -> None:
        """Publish nothing more."""
        self._source.stop()

    def _publish_all(self, started_ns: int) -> None:
        try:
            for due in self._source.events(started_ns):
                self.publish(*due)
        except LabkitError as error:
            self.failure = str(error)
        except Exception as error:
            self.failure, self.raised = f"{type(error).__name__}: {error}", error
        finally:
            self.ended.set_result(True)

    def publish(self, due_ns: int, data: str | bytes, topic: str = "") -> int:
        """Publish one event. Safe from any thread but the lab loop's."""
        event = self._lab.publish_event(data, topic)
        self.published[topic, event.id] = (due_ns, event.published_ns)
        self.newest[topic] = max(self.newest.get(topic, 0), event.id)
        self.count += 1
        self._on_event(event.id, due_ns, event.published_ns)
        return event.id
