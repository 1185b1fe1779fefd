"""A lab behind the suspected hop: the probe publishes through it, so that each latency runs from its own POST."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

from labkit.client.address import Address
from labkit.client.speaking import speaking
from labkit.errors import LabkitError
from labkit.strangers.probe.asking import Question
from labkit.strangers.secrets import is_secret
from labkit.wire.bodies import AsItComes
from labkit.wire.events import now_ns

EACH_S = 0.25
UNANSWERED = "no POST to /events was answered in time: is a lab (labkit serve) behind it, and does the hop let POST by?"
FIRST_S = 0.3
"""Until the subscriber is surely there."""


class Publisher:
    """Publishes to a topic of its own, on the lab that a question is asked of.

    Attributes:
        posted_ns: when each POST was written, by what it said; those that the lab has accepted.
        complaint: why one was not.
    """

    def __init__(self, question: Question) -> None:
        self.topic = f"probe-{os.urandom(4).hex()}"
        self._question = question
        self.posted_ns: dict[str, int] = {}
        self.complaint = ""

    def subscribed(self) -> Question:
        """The question, of that topic."""
        place = self._question.address
        query = "&".join(filter(None, [place.query, f"topic={self.topic}"]))
        return replace(self._question, address=replace(place, query=query))

    def told(self, since_ns: int) -> dict[str, float]:
        """What was published, and when, in seconds since that moment.

        Raises:
            LabkitError: nothing was; the message says why.
        """
        if not self.posted_ns:
            raise LabkitError(f"nothing could be published: {self.complaint or UNANSWERED}")
        return {said: (t_ns - since_ns) / 1e9 for said, t_ns in self.posted_ns.items()}

    async def publish(self) -> None:
        """Until cancelled."""
        place = self._question.address
        folder = place.path.rpartition("/")[0]
        scheme = "https" if place.is_secure else "http"
        where = Address(scheme, place.host, place.port, f"{folder}/events", f"topic={self.topic}")
        question = self._question
        posting = replace(question, address=where, versions=(1,), method="POST", fields=_posted(question))
        await asyncio.sleep(FIRST_S)
        http = None
        try:
            http = await speaking(where, posting.wiring)
            number = 0
            while True:
                number += 1
                said = f"{self.topic} {number}"
                await http.request("POST", posting.target, posting.sent, body=said.encode())
                posted_ns = now_ns()
                response = await http.response()
                async for _ in http.values(AsItComes()):
                    pass
                if response.status != 200:
                    self.complaint = f"POST {where.path} was answered {response.status}: is there a lab behind it?"
                    return
                self.posted_ns[said] = posted_ns
                if not http.next_cycle():
                    http.close()
                    http = await speaking(where, posting.wiring)
                await asyncio.sleep(max(0.0, EACH_S - (now_ns() - posted_ns) / 1e9))
        except LabkitError as error:
            self.complaint = str(error)
        finally:
            if http is not None:
                http.close()


def _posted(question: Question) -> dict[str, str]:
    """A POST's fields: beside its type, those that somebody has asked for."""
    asked = {n: v for n, v in question.fields.items() if n.lower() in question.secret or is_secret(n)}
    return {"Content-Type": "text/plain", **asked}
