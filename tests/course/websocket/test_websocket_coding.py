"""The reader of frames that 05 asks for: the solution keeps every promise, and each slip is told from the others."""

from __future__ import annotations

import pytest

import labkit
from attempts import first_broken, slipped, solution
from cells import cell
from labkit.course.websocket.coding import HELLO, KEY, MASKED, READER, frame
from labkit.wire.frames import Frame, Opcode, encode_frame

RIGHT = solution("05_websocket", "Reader")
ATTEMPTS = {
    "FIN is left in the opcode": (
        [("return first & 128, first & 15, payload", "return first & 128, first, payload")],
        "A whole frame", "0x81 has FIN in it",
    ),
    "it does not unmask": (
        [("payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))", "pass")],
        "What is masked is unmasked", "a key of four bytes",
    ),
    "the key is used once": (
        [("bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))",
          "bytes(byte ^ (key + bytes(99999))[i] for i, byte in enumerate(payload))")],
        "What is masked is unmasked", "key[i % 4]",
    ),
    "the mask bit is in the length": (
        [("second & 127\n", "second\n")],
        "What is masked is unmasked", "the top bit of the second byte",
    ),
    "126 is a length": (
        [("if size > 125:", "if False:")],
        "Lengths of 7, 16 and 64 bits", "126: the next two bytes",
    ),
    "127 is read as 126": (
        [("at = 4 if size == 126 else 10", "at = 4")],
        "Lengths of 7, 16 and 64 bits", "127: the next eight",
    ),
    "the low byte comes first": (
        [('"big"', '"little"')],
        "Lengths of 7, 16 and 64 bits", "the high byte first",
    ),
    "one frame a read": (
        [("        while frame := self.frame():", "        for frame in filter(None, [self.frame()]):")],
        "One read may bring several frames", "go on until",
    ),
    "each read is taken for a whole": (
        [("self.rest + data, []", "data, []")],
        "byte by byte, and cut in two", "keep what is left",
    ),
    "each fragment is a message": (
        [("            if fin:", "            if True:"), ("if (opcode == 0) is (self.opcode is None)", "if False")],
        "Fragments are one message", "without FIN a message goes on",
    ),
    "the parts of the last message stay": (
        [("self.opcode, self.parts = None, []\n        return", "self.opcode = None\n        return")],
        "One read may bring several frames", "",
    ),
    "a control frame is one more fragment": (
        [("if opcode >= 8:", "if opcode >= 8 and self.opcode is None:"),
         ("if (opcode == 0) is (self.opcode is None)", "if False")],
        "Control frames come out at once", "the message around them goes on",
    ),
    "an empty payload is none": (
        [("            if fin:", "            if fin and not any(self.parts):\n"
          "                self.opcode, self.parts = None, []\n            elif fin:")],
        "An empty payload is one too", "ask for None",
    ),
    "the key begins at its second byte": (
        [("key[i % 4]", "key[(i + 1) % 4]")],
        "What is masked is unmasked", "key[i % 4]",
    ),
    "the key begins anew behind a long header": (
        [("key[i % 4]", "key[(i + (len(payload) > 125)) % 4]")],
        "Lengths of 7, 16 and 64 bits", "behind the key",
    ),
    "only ping and pong are control frames": (
        [("if opcode >= 8:", "if opcode in (9, 10):")],
        "Control frames come out at once", "any opcode from 8 on",
    ),
    "a close is no control frame": (
        [("if opcode >= 8:", "if opcode > 8:")],
        "Control frames come out at once", "8 is a close",
    ),
    "only known opcodes are control frames": (
        [("if opcode >= 8:", "if opcode in (8, 9, 10):")],
        "Control frames come out at once", "any opcode from 8 on",
    ),
    "the parts are the class's": (
        [("self.rest, self.opcode, self.parts = b\"\", None, []", "self.rest, self.opcode = b\"\", None"),
         ("self.opcode, self.parts = None, []", "self.opcode = None\n                self.parts.clear()"),
         ("    def __init__", "    parts = []\n\n    def __init__")],
        "Two readers at once", "made in __init__",
    ),
    "the parts are the class's until a message is over": (
        [("self.rest, self.opcode, self.parts = b\"\", None, []", "self.rest, self.opcode = b\"\", None"),
         ("    def __init__", "    parts = []\n\n    def __init__")],
        "What is masked is unmasked", "is of another object",
    ),
    "it waits for a byte too many": (
        [("len(self.rest) < max(at, stop)", "len(self.rest) <= max(at, stop)")],
        "A whole frame", "FIN is the top bit of the first byte",
    ),
    "a key is always there": (
        [("(4 if masked else 0)", "4")],
        "A whole frame", "so no key follows",
    ),
    "what does not fit raises something else": (
        [("raise ValueError(", "raise KeyError(")],
        "Fragments that do not fit", "is to be a ValueError",
    ),
    "what does not fit is passed over": (
        [('raise ValueError("a continuation of nothing, or a message inside another")', "continue")],
        "Fragments that do not fit", "without a word",
    ),
    "a pair is returned": (
        [("return found", "return found[0] if found else []")],
        "A whole frame", "feed returns a list of pairs",
    ),
    "feed is a generator": (
        [("return found", "yield from found")],
        "A whole frame", "with a yield in it",
    ),
    "a text is str": (
        [("return first & 128, first & 15, payload", "return first & 128, first & 15, payload"),
         ('b"".join(self.parts)', 'b"".join(self.parts).decode() if self.opcode == 1 else b"".join(self.parts)')],
        "A whole frame", "of a text too",
    ),
    "anything may follow anything": (
        [("if (opcode == 0) is (self.opcode is None)", "if False")],
        "Fragments that do not fit", "whether a message is under way",
    ),
}  # fmt: skip


def test_the_solution_keeps_every_promise() -> None:
    assert first_broken(READER, RIGHT, "Reader") == ("", "", "")


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_slip_breaks_its_promise_and_gets_its_hint(attempt: str) -> None:
    changes, promise, hint = ATTEMPTS[attempt]
    found = first_broken(READER, slipped(RIGHT, *changes), "Reader")
    assert promise in found[0] and hint in found[2], found
    assert "b'" in found[1] or "a payload of" in found[1], found  # the bytes that broke it


def test_a_pair_may_be_a_list() -> None:
    lists = slipped(RIGHT, ("((opcode, payload))", "([opcode, payload])"), ("((self.opcode, b", "([self.opcode, b"),
                    ("(self.parts)))", "(self.parts)])"))  # fmt: skip
    assert first_broken(READER, lists, "Reader") == ("", "", "")


def test_handed_in_it_is_judged_as_a_notebook_has_it() -> None:
    assert labkit.answer("05.4", cell(RIGHT)["Reader"]).right is True
    pairs = labkit.answer("05.4", cell("class Reader:\n    def feed(self, data):\n        return [data]\n")["Reader"])
    assert pairs.right is False and "a pair: the opcode, and the payload as bytes" in str(pairs)


def test_what_is_shown_is_what_differs() -> None:
    little = first_broken(READER, slipped(RIGHT, ('"big"', '"little"')), "Reader")
    assert "found [] as opcodes and lengths, expected [(2, 126)]" in little[1] and "\\x00~" in little[1]
    key = first_broken(READER, slipped(RIGHT, ("key[i % 4]", "key[(i + (len(payload) > 125)) % 4]")), "Reader")
    assert "of the payload, from byte 0 on it is" in key[1] and "expected b'01234567'" in key[1]


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
@pytest.mark.parametrize("key", [b"", KEY])
def test_its_frames_are_those_of_the_kits_encoder(size: int, key: bytes) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    wanted = encode_frame(Frame(Opcode.BINARY, payload[:size], mask=key or None))
    assert frame(2, payload[:size], key=key) == wanted


def test_the_first_frames_are_those_that_the_rfc_prints() -> None:
    """RFC 6455 section 5.7."""
    assert (frame(1, b"Hello"), frame(1, b"Hello", key=bytes.fromhex("37fa213d"))) == (HELLO, MASKED)
