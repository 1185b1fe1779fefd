"""Eight products, and the answer that an expert would sign for each: what wins, what is alike, what must be said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

import labkit
from labkit.choosing import Choice
from labkit.course.side_by_side import eight_products
from labkit.course.side_by_side.products import PRODUCTS as NEEDS


@dataclass(frozen=True)
class Product:
    """What is needed, and what the answer has to be.

    Attributes:
        needs: one transit is 50 ms, and the connections are encrypted, unless these say otherwise.
        alike: all between which the figures do not decide, the winner included.
        said: words that the answer, its reasons and what it does not know must have between them.
        unsaid: words that they must not have.
    """

    needs: dict[str, Any]
    winner: str
    alike: tuple[str, ...]
    said: tuple[str, ...]
    unsaid: tuple[str, ...] = ()

    def choose(self) -> Choice:
        return labkit.choose(**{"tls": True, **self.needs})


CHAT = NEEDS["chat"]
PRODUCTS = {
    "chat, 50 000 phones": Product(
        CHAT, "websocket", ("websocket", "sse"),
        ("WebSocket or SSE with a POST for each message: alike",
         "3 servers are proposed, for its 50,000 connections: 20,000 connections at the most on each",
         "A POST each 50 s holds no second connection", "phones asleep", "Web Push", "After a deploy all come back",
         "spreads the herd", "a backplane"),
        ("No technique",),
    ),
    "chat, its servers end TLS": Product(
        CHAT | {"path": "idle-timeout:240"}, "websocket", ("websocket", "sse"),
        ("which direct fan-out cannot write", "on 3 servers", "Web Push"),
    ),
    "ticker, newest only, 500 desktops": Product(
        NEEDS["ticker"], "sse", ("sse", "websocket"),
        ("SSE or WebSocket: alike", "One write per", "(S - d", "with conflation, the newest value only"),
        ("POST",),
    ),
    "job finished, S 10 s": Product(
        NEEDS["job finished"], "sse", ("sse",),
        ("SSE: at most", "long polling where it refuses the Upgrade", "Interval polling wins from",
         "a page that is closed", "mail", "Web Push"),
    ),
    "job finished, S 120 s": Product(
        NEEDS["job finished, patient"], "polling", ("polling", "sse"), ("a page that is closed", "mail", "Web Push")
    ),
    "collaborative editor": Product(
        NEEDS["editor"],
        "websocket", ("websocket",),
        ("Order is the reason", "POSTs over several connections overtake each other (A10)", "39%"), ("alike",),
    ),
    "Upgrade refused": Product(
        NEEDS["Upgrade refused"], "sse", ("sse",),
        ("SSE: at most", "long polling"),
    ),
    "Upgrade refused, and buffered": Product(
        NEEDS["and buffered"], "long-polling", ("long-polling", "polling"),
        ("Long polling",),
    ),
    "sensor, S 60 s": Product(
        NEEDS["sensor"], "nothing", (),
        ("None of the five pays", "5,760 heartbeats a day", "MQTT, CoAP", "push service", "a poll an hour is 24"),
        ("No technique",),
    ),
    "sensor, S 1 h": Product(
        NEEDS["sensor, patient"], "polling", ("polling",), ("Interval polling is the right answer",)
    ),
    "tokens, S 0.5 s": Product(
        NEEDS["tokens"], "http-streaming", ("http-streaming",),
        ("The POST's own response, read with fetch", "event stream if you wish", "Never polling", "never EventSource",
         "cannot POST", "Nothing is there to resume", "unless the POST names a topic", "One write per 450"),
        ("heartbeat", "After a deploy"),
    ),
    "tokens, S 1 s": Product(
        NEEDS["tokens"] | {"staleness_s": 1}, "http-streaming", ("http-streaming",),
        ("The POST's own response, read with fetch", "Never polling", "never EventSource"),
    ),
    "dashboard, 30 values a second": Product(
        NEEDS["dashboard"], "sse", ("sse", "websocket"),
        ("SSE or WebSocket: alike", "One write per", "1.1 writes a second instead of 30",
         "The next, interval polling, costs"),
    ),
}  # fmt: skip


def everything(choice: Choice) -> str:
    """All that is said to a reader beside the tables."""
    return "\n".join([choice.sentence, *choice.reasons, *choice.unknown]).replace("\u00a0", " ").replace("\u202f", "")


@pytest.mark.parametrize("name", PRODUCTS)
def test_the_answer_is_one_that_an_expert_signs(name: str) -> None:
    product = PRODUCTS[name]
    choice = product.choose()
    assert choice.winner == product.winner
    usable = {choice.winner, *choice.alike} - {"nothing"}
    assert usable == set(product.alike)
    said = everything(choice)
    assert [each for each in product.said if each not in said] == [], said
    assert [each for each in product.unsaid if each in said] == [], said


@pytest.mark.parametrize("name", PRODUCTS)
def test_nothing_is_right_or_cheapest_and_alike_at_once(name: str) -> None:
    choice = PRODUCTS[name].choose()
    said = everything(choice)
    assert ("alike" in said) == bool(choice.alike)
    assert not ("alike" in said and ("right answer" in said or "cheapest" in said))


def test_polling_begins_to_win_for_a_finished_job_at_about_ninety_seconds() -> None:
    flips = labkit.choose(tls=True, **NEEDS["job finished"]).flips()
    border = next(flip.then for flip in flips if flip.after == "polling" and flip.parameter == "staleness_s")
    assert border is not None and 60 < border < 120


def test_servers_that_are_too_few_are_named_with_those_that_do() -> None:
    choice = labkit.choose(tls=True, servers=2, **CHAT)
    assert choice.winner == "nothing"
    assert choice.sentence.startswith("Not on 2 servers. WebSocket or SSE") and "on 3 servers" in choice.sentence


def test_what_phones_and_several_servers_ask_for_is_said_of_them_alone() -> None:
    desk = labkit.choose(rate_per_s=1, staleness_s=2)
    assert not [said for said in desk.unknown if "phones" in said or "radio" in said or "backplane" in said]
    assert any("serverless" in said for said in desk.unknown)
    patient = labkit.choose(rate_per_s=1 / 3600, staleness_s=300)
    assert not [said for said in patient.unknown if "serverless" in said or "loss" in said]


def test_every_product_of_the_notebook_is_judged_here() -> None:
    shown = eight_products()
    judged = [product.choose().needs for product in PRODUCTS.values()]
    assert all(choice.needs in judged for choice in shown.choices.values())
    assert list(shown.table().columns) == ["needs", "answer"] and "MQTT" in repr(shown["sensor"])
    with pytest.raises(labkit.errors.LabkitError, match="none of the products: chat"):
        shown["abacus"]
