"""What 06_plugins_and_relatives claims: each sentence, its source, its experiment, its judge."""

from __future__ import annotations

from labkit.claims.claim import Claim, of_notebook
from labkit.course.alone import in_a_lab
from labkit.course.relatives import judges
from labkit.course.relatives.exhibits import EVERY
from labkit.course.relatives.manners import relatives
from labkit.course.relatives.plugin_socket import flash
from labkit.course.relatives.tricks import Old, Page, old_tricks
from labkit.webpage.settings import NO_PAGE

CLAIMS = of_notebook(
    "06_plugins_and_relatives",
    Claim(
        "X1",
        source="founding notes",
        sentence="polling, Long polling, streaming, web socket, plugin 등의 방안이 존재 "
        "(as ways there are polling, long polling, streaming, web sockets, plugins and others): of plugins",
        unit="",
        judge=judges.plugins_pushed,
        experiment=in_a_lab(flash, techniques=EVERY),
    ),
    Claim(
        "X2",
        source="history",
        sentence="the forever frame and JSONP polling worked everywhere",
        unit="",
        judge=judges.old_tricks_worked,
        experiment=in_a_lab(lambda lab: Old(old_tricks(lab), Page(why=NO_PAGE)), techniques=EVERY),
    ),
    Claim(
        "X3",
        source="RFC 6202 sections 4.1 and 4.2",
        sentence="Bayeux and BOSH are long polling with manners",
        measures="mean latency of BOSH",
        judge=judges.manners,
        experiment=in_a_lab(relatives, techniques=EVERY),
    ),
)
