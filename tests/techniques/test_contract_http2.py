"""The contract over HTTP/2: every promise by every technique that speaks HTTP, on streams of one port."""

from __future__ import annotations

import pytest
from test_contract import cases

from labkit.subscribing.contract import Promise
from labkit.subscribing.contract.promise import Trial
from labkit.techniques import Technique

pytest.importorskip("h2")

OVER_HTTP2 = [case for case in cases() if case.values[1].http_version and case.values[2] == case.values[0].fanouts[0]]


@pytest.mark.parametrize(("promise", "technique", "fanout"), OVER_HTTP2)
def test_every_technique_keeps_over_http2(promise: Promise, technique: Technique, fanout: str) -> None:
    promise.keep(Trial(technique, fanout, http=2))
