"""The decoder of chunks that 03 asks for: the solution keeps every promise, and each slip is told from the others."""

from __future__ import annotations

import pytest

import labkit
from attempts import first_broken, slipped, solution
from cells import cell
from labkit.course.http_streaming.coding import AWKWARD, DECHUNKER, EXTENDED, OTHER, PLAIN, SIZES, TRAILED, ZEROS
from labkit.wire.whole_chunks import ChunkDecoder, Trailers

RIGHT = solution("03_http_streaming", "Dechunker")
ATTEMPTS = {
    "each read is taken for a whole": (
        [("self.rest + data, b", "data, b")],
        "byte by byte, and cut in two", "keep the rest of it",
    ),
    "the line end behind the data is given out": (
        [("out + behind[:size]", "out + behind[: size + 2]")],
        "A body in one read", "the CR LF behind a chunk's data is framing",
    ),
    "it looks for the next line end instead of counting": (
        [("size = int(digits, 16)", "size = max(int(digits, 16) and behind.find(b'\\r\\n'), 0)")],
        "Data may look like framing", "what they look like does not count",
    ),
    "sizes are read as decimal": (
        [("int(digits, 16)", "int(digits)")],
        "Sizes are hexadecimal", "int(digits, 16)",
    ),
    "the line with the extensions is the size": (
        [("line.partition(b\";\")[0]", "line")],
        "Extensions are passed over", "from a semicolon on",
    ),
    "the body ends at the chunk of size 0": (
        [("self.rest, self.last = behind, True", "self.rest, self.over = behind, True")],
        "ended() tells the end", "trailers may follow, and a blank line ends them",
    ),
    "trailers are data": (
        [("self.rest, self.over = behind, not line", "self.rest, self.over, out = behind, not line, out + line")],
        "Trailers are passed over", "trailers, and no data",
    ),
    "ended() is true whenever nothing is left": (
        [("return self.over", "return not self.rest")],
        "ended() tells the end", "has lost a part of the body",
    ),
    "int() is asked what a size is": (
        [('if not re.fullmatch(rb"[0-9A-Fa-f]+", digits)', "if digits == b''")],
        "What is no size is refused", "int() also takes signs",
    ),
    "what is no size raises something else": (
        [("raise ValueError(f\"no size: {line!r}\")", "raise KeyError(line)")],
        "What is no size is refused", "is to be a ValueError",
    ),
    "what is no size is waited for": (
        [("raise ValueError(f\"no size: {line!r}\")", "break")],
        "What is no size is refused", "as soon as it is there",
    ),
    "a name has no value yet": (
        [("self.rest + data, b\"\"", "self.rest + data, out")],
        "A body in one read", "is its own, and has none before that",
    ),
    "a name is nobody's": (
        [("self.rest + data, b\"\"", "self.rest + data, nothing")],
        "A body in one read", "without your notebook",
    ),
    "feed lacks self": (
        [("def feed(self, data)", "def feed(data)")],
        "A body in one read", "takes self before all else",
    ),
    "two bytes behind the data are skipped, whatever they are": (
        [('if behind[size : size + 2] != b"\\r\\n":', "if False:")],
        "Data without CR LF behind them", "reads another body than others",
    ),
    "it gives all the data at the end": (
        [("return out", "self.all = getattr(self, 'all', b'') + out\n        return self.all if self.over else b''")],
        "A chunk comes out as soon as it is whole", "may send no other for an hour",
    ),
    "the next answer is data": (
        [("return out", "if self.over:\n            out, self.rest = out + self.rest, b''\n        return out")],
        "What follows the end is left alone", "belongs to the next answer",
    ),
    "nothing is returned": (
        [("return out", "self.out = out")],
        "A body in one read", "b'' for nothing",
    ),
    "text is returned": (
        [("return out", "return out.decode('latin-1')")],
        "A body in one read", "feed returns bytes, and b'' for nothing",
    ),
    "a list is returned": (
        [("return out", "return [out]")],
        "A body in one read", "feed returns bytes",
    ),
    "feed is a generator": (
        [("return out", "yield out")],
        "A body in one read", "with a yield in it",
    ),
    "feed is a coroutine": (
        [("def feed", "async def feed")],
        "A body in one read", "write def",
    ),
    "ended is an attribute": (
        [("self.last = self.over = False", "self.last = self.over = self.ended = False"),
         ("    def ended(self):\n        return self.over\n", "")],
        "ended() tells the end", "ended is a method",
    ),
    "ended is missing": (
        [("    def ended(self):\n        return self.over\n", "")],
        "ended() tells the end", "ended is a method",
    ),
    "what it keeps is the class's": (
        [('        self.rest = b""\n        self', '        self'), ("self.rest, out = self.rest + data, b\"\"",
         "keep = type(self).__dict__['kept']\n        keep += data\n        self.rest, out = bytes(keep), b''"),
         ("        return out", "        keep[:] = self.rest\n        return out"),
         ("    def __init__", "    kept = bytearray()\n\n    def __init__")],
        "Two decoders at once", "made in __init__",
    ),
    "it gives out what has come of a chunk": (
        [("            if len(behind) < size + 2:\n                break", "            if len(behind) < size + 2:\n"
          "                new, self.given = behind[getattr(self, 'given', 0) : size], min(size, len(behind))\n"
          "                out += new\n                break"),
         ("out + behind[:size]", "out + behind[getattr(self, 'given', 0) : size]"),
         ("behind[size + 2 :]", "behind[size + 2 :]\n            self.given = 0")],
        "A chunk comes out as soon as it is whole, and not before", "until then nothing of it",
    ),
    "only one zero is the last chunk's": (
        [("if size == 0:", 'if digits == b"0":')],
        "ended() tells the end", "in one digit or more",
    ),
    "LF ends a line": (
        [('self.rest.partition(b"\\r\\n")',
          'self.rest.partition(b"\\n")\n            line = line.removesuffix(b"\\r")')],
        "A line ends at CR LF", "an LF alone",
    ),
    "LF ends a size": (
        [('self.rest.partition(b"\\r\\n")',
          'self.rest.partition(b"\\r\\n" if self.last else b"\\n")\n            line = line.removesuffix(b"\\r")')],
        "A line ends at CR LF", "an LF alone",
    ),
    "ended() prints": (
        [("return self.over", "print(self.over)")],
        "ended() tells the end", "which returns whether the body has ended",
    ),
    "ended() is a coroutine": (
        [("def ended", "async def ended")],
        "ended() tells the end", "write def",
    ),
    "the data are the class's": (
        [("    def __init__", "    found = []\n\n    def __init__"), ("out, self.rest = out + behind[:size],",
         "self.found.append(behind[:size])\n            self.rest ="),
         ("        return out", "        if self.over:\n            out = b''.join(self.found)\n"
          "            self.found.clear()\n        return out")],
        "Two decoders at once", "made in __init__",
    ),
    "LF ends the body": (
        [("            if self.last:", "            if self.last and self.rest[:1] == b'\\n':\n"
          "                self.over = True\n                break\n            if self.last:"),
         ("            if not ends:", "            if not ends and not (self.last and self.rest[:1] == b'\\n'):")],
        "A line ends at CR LF", "an LF alone",
    ),
}  # fmt: skip


def test_the_solution_keeps_every_promise() -> None:
    assert first_broken(DECHUNKER, RIGHT, "Dechunker") == ("", "", "")


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_slip_breaks_its_promise_and_gets_its_hint(attempt: str) -> None:
    changes, promise, hint = ATTEMPTS[attempt]
    found = first_broken(DECHUNKER, slipped(RIGHT, *changes), "Dechunker")
    assert promise in found[0] and hint in found[2], found
    assert "b'" in found[1] or "a size in" in found[1], found  # the bytes that broke it


def test_an_ended_that_is_no_method_is_said_to_be_none() -> None:
    changes, _, _ = ATTEMPTS["ended is an attribute"]
    assert "ended is False, and no method" in first_broken(DECHUNKER, slipped(RIGHT, *changes), "Dechunker")[1]


def test_handed_in_it_is_judged_as_a_notebook_has_it() -> None:
    assert labkit.answer("03.4", cell(RIGHT)["Dechunker"]).right is True
    wrong = labkit.answer("03.4", cell(slipped(RIGHT, ("int(digits, 16)", "int(digits)")))["Dechunker"])
    assert wrong.right is False and "✗ Sizes are hexadecimal." in str(wrong) and "int(digits, 16)" in str(wrong)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("        raise RuntimeError('not ready')", "it raised RuntimeError: not ready, in line"),
        ("        return 'hello, world'", "feed returned 'hello, world', which is not bytes"),
    ],
)
def test_code_that_raises_or_gives_another_type_is_told_so(body: str, said: str) -> None:
    text = f"class Dechunker:\n    def feed(self, data):\n{body}\n\n    def ended(self):\n        return True\n"
    found = labkit.answer("03.4", cell(text)["Dechunker"])
    assert found.right is False and said in str(found)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("self.rest + data", "self.buffer + data", "in line 7 of Dechunker"),
        ("return self.over", "return self.finished", "ended(): it raised AttributeError"),
        ("return out", "return out + 1", "can't concat int to bytes"),
    ],
)
def test_what_no_bytes_are_the_cause_of_is_looked_for_in_the_line_that_raised_it(old: str, new: str, said: str) -> None:
    found = labkit.answer("03.4", cell(slipped(RIGHT, (old, new)))["Dechunker"])
    assert said in str(found) and "Hint: look at the line that raised it" in str(found)


def test_what_it_is_given_is_what_the_kits_decoder_takes() -> None:
    for wire in (PLAIN, AWKWARD, EXTENDED, TRAILED, OTHER, ZEROS, *(wire for wire, _ in SIZES.values())):
        assert isinstance(ChunkDecoder().feed(wire)[-1], Trailers), wire
