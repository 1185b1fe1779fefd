"""The decoder of event streams that 04 asks for: the solution keeps each promise, slips are told from one another."""

from __future__ import annotations

import pytest

import labkit
from attempts import first_broken, slipped, solution
from cells import cell
from labkit.course.sse import coding
from labkit.course.sse.coding import DECODER

RIGHT = solution("04_server_sent_events", "Decoder")
ATTEMPTS = {
    "each read is decoded by itself": (
        [("self.text.decode(data)", "data.decode('utf-8-sig', 'replace')")],
        "byte by byte", "in a character",
    ),
    "CR does not end a line": (
        [('if char not in "\\r\\n":', 'if char == "\\r":\n                continue\n            if char != "\\n":')],
        "A line ends at LF, at CR", "Each line ends in its own way",
    ),
    "CRLF ends two lines": (
        [('elif char == "\\r" or not self.after_cr', "else")],
        "A line ends at LF, at CR", "CRLF is one line end",
    ),
    "lines are split as Python does": (
        [('if char not in "\\r\\n"', 'if char not in "\\r\\n\\x0b\\x0c\\x1c\\x1d\\x1e\\x85\\u2028\\u2029"')],
        "A line ends at LF, at CR", "Only CR and LF end a line",
    ),
    "all blanks around a value go": (
        [('value.removeprefix(" ")', "value.strip()")],
        "A field is a name and a value", "no tab",
    ),
    "all spaces before a value go": (
        [('value.removeprefix(" ")', 'value.lstrip(" ")')],
        "A field is a name and a value", "One space after the colon",
    ),
    "each colon divides": (
        [('line.partition(":")', '(line.split(":") + ["", ""])[:3]\n        value = _')],
        "A field is a name and a value", "Only the first colon",
    ),
    "a comment's text is a field": (
        [('line.partition(":")', 'line.lstrip(":").partition(":")')],
        "Comments are passed over", "A comment inside of a block",
    ),
    "the type stays": (
        [('self.data, self.type = [], ""\n            return', "self.data = []\n            return")],
        "event names the type of one block", "of its event alone",
    ),
    "the id is forgotten with its block": (
        [("            return events", '            self.id = ""\n            return events')],
        "An id holds until the next one", "holds for the events after it",
    ),
    "an id with a NUL is taken": (
        [(' and "\\0" not in value', "")],
        "one with a NUL is none", "An id with a NUL is ignored",
    ),
    "a block without data is an event": (
        [(" if self.data else []", "")],
        "A line ends at LF, at CR", "dispatch nothing",
    ),
    "invalid UTF-8 raises": (
        [('("replace")', "()")],
        "The stream is UTF-8", "become U+FFFD",
    ),
    "the byte order mark stays": (
        [("utf-8-sig", "utf-8")],
        "One byte order mark", "is no part of the first line",
    ),
    "every byte order mark goes": (
        [("in self.text.decode(data):", "in self.text.decode(data).replace('\\ufeff', ''):")],
        "One byte order mark", "Only one byte order mark",
    ),
    "a line of blanks is a blank line": (
        [("        if not line:", "        if not line.strip():")],
        "A line ends at LF, at CR", "a blank line has nothing in it",
    ),
    "the space behind the colon stays": (
        [('value.removeprefix(" ")', "value")],
        "A block with data", "one space behind the colon",
    ),
    "the type is empty without an event line": (
        [('self.type or "message"', "self.type")],
        "A block with data", "the type is message",
    ),
    "it is taken for Latin-1": (
        [("self.text.decode(data)", "data.decode('latin-1')")],
        "A line ends at LF, at CR", "the stream is UTF-8: decode it as that",
    ),
    "the half of a character is the class's": (
        [("        self.text = codecs", "        assert self.text\n        codecs"),
         ("    def __init__", '    text = codecs.getincrementaldecoder("utf-8-sig")("replace")\n\n    def __init__')],
        "Two decoders at once", "made in __init__",
    ),
    "the id is the class's": (
        [("            self.id = value", "            type(self).id = value"),
         ('self.type, self.id, self.retry_ms = [], "", "", None', 'self.type, self.retry_ms = [], "", None'),
         ("    def __init__", '    id = ""\n\n    def __init__')],
        "Two decoders at once", "this id came to another object",
    ),
    "no bytes are the end": (
        [("        return events\n\n", "        return events if data else events + self.take('')\n\n")],
        "What the end cuts short", "it is dropped",
    ),
    "CRLF ends no line": (
        [('if char not in "\\r\\n"', 'if char != "\\n"'), ('elif char == "\\r" or not self.after_cr', "else")],
        "A line ends at LF, at CR", "it ends a line as LF does",
    ),
    "retry is what int() takes": (
        [("value.isascii() and value.isdigit()", "value.strip().lstrip('+-').isdigit()")],
        "retry sets retry_ms", "only ASCII digits",
    ),
    "a CR waits for what comes next": (
        [("in self.text.decode(data):", "in self.late(self.text.decode(data)):"),
         ("    def take(", "    def late(self, text):\n        text = getattr(self, 'cr', '') + text\n"
          "        self.cr = '\\r' * text.endswith('\\r')\n        return text.removesuffix('\\r')\n\n    def take(")],
        "at a lone CR too", "CR ends a line by itself",
    ),
    "events are lists": (
        [("[(self.type or", "[[self.type or"), ("self.id)]", "self.id]]")],
        "A block with data", "each event is a tuple",
    ),
    "data are bytes": (
        [('"\\n".join(self.data)', '"\\n".join(self.data).encode()')],
        "A block with data", "are text (str)",
    ),
    "the data come first": (
        [('(self.type or "message", "\\n".join(self.data), self.id)',
          '("\\n".join(self.data), self.type or "message", self.id)')],
        "A block with data", "in this order",
    ),
    "there is no id before the first": (
        [('"", "", None', '"", None, None')],
        "A block with data", "'' until one has come",
    ),
    "feed is a generator": (
        [("        return events\n\n", "        yield from events\n\n")],
        "A block with data", "with a yield in it",
    ),
    "a tuple of events is returned": (
        [("        return events\n\n", "        return tuple(events)\n\n")],
        "A block with data", "feed returns a list of events",
    ),
    "the lines are the class's": (
        [("    def __init__", "    lines = []\n\n    def __init__"),
         ("self.data, self.type, self.id, self.retry_ms = []",
          "self.data, self.type, self.id, self.retry_ms = self.lines"),
         ('self.data, self.type = [], ""', "self.data.clear()\n            self.type = ''")],
        "Two decoders at once", "made in __init__",
    ),
    "0 is no time": (
        [("value.isdigit()", "value.isdigit() and int(value)")],
        "retry sets retry_ms", "0 is a time like any other",
    ),
    "retry_ms is text": (
        [("int(value)", "value")],
        "retry sets retry_ms", "an int, in milliseconds",
    ),
    "retry_ms is no int": (
        [("int(value)", "float(value)")],
        "retry sets retry_ms", "an int, in milliseconds",
    ),
    "retry_ms is in seconds": (
        [("int(value)", "int(value) / 1000")],
        "retry sets retry_ms", "an int, in milliseconds",
    ),
}  # fmt: skip


def test_the_solution_keeps_every_promise() -> None:
    assert first_broken(DECODER, RIGHT, "Decoder") == ("", "", "")


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_slip_breaks_its_promise_and_gets_its_hint(attempt: str) -> None:
    changes, promise, hint = ATTEMPTS[attempt]
    found = first_broken(DECODER, slipped(RIGHT, *changes), "Decoder")
    assert promise in found[0] and hint in found[2], found
    assert "b'" in found[1], found  # the bytes that broke it


def test_handed_in_it_is_judged_as_a_notebook_has_it() -> None:
    assert labkit.answer("04.4", cell(RIGHT)["Decoder"]).right is True
    endless = "class Decoder:\n    retry_ms = None\n\n    def feed(self, data):\n        return 17\n"
    wrong = labkit.answer("04.4", cell(endless)["Decoder"])
    assert (
        wrong.right is False
        and "feed returned 17, which is not a list" in str(wrong)
        and "[] for nothing" in str(wrong)
    )


def test_every_case_is_one_of_the_vectors() -> None:
    named = {name for part in (coding.BLOCKS, coding.LINES, coding.FIELDS, coding.COMMENTS, coding.TYPES,
                               coding.IDS, coding.ENDS, coding.TEXTS, coding.MARKS) for name in part}  # fmt: skip
    assert named | coding.HINTS.keys() <= coding._cases().keys()
    assert all(coding._cases()[name].waits_ms for name in (*coding.RETRIES, coding.NO_RETRIES))


def test_an_event_that_is_missing_or_too_many_is_shown() -> None:
    for old, new, said in (
        (
            'if char not in "\\r\\n"',
            'if char != "\\n"',
            "found 0 events, expected 2: ('message', 'one\\ntwo', '') is missing",
        ),
        (
            "        return events\n\n",
            "        return events if data else self.take('')\n\n",
            "found 2 events, expected 1: ('message', 'two', '') is one too many",
        ),
    ):
        found = first_broken(DECODER, slipped(RIGHT, (old, new)), "Decoder")[1]
        assert found.endswith(said), found


def test_a_retry_ms_that_is_a_method_is_said_to_be_one() -> None:
    source = slipped(RIGHT, ("self.retry_ms = []", "self.wait_ms = []"), ("self.retry_ms = int", "self.wait_ms = int"))
    source += "\n    def retry_ms(self):\n        return self.wait_ms\n"
    assert first_broken(DECODER, source, "Decoder")[2] == "it is a value that is read, and no method that is called"


def test_a_line_that_is_no_time_is_shown_itself() -> None:
    _, found, _ = first_broken(
        DECODER, slipped(RIGHT, ("value.isascii() and value.isdigit()", "value.isdecimal()")), "Decoder"
    )
    assert found.startswith(repr("retry: 700\nretry: \u0665\n".encode()) + ": retry_ms is 5, expected 700")
