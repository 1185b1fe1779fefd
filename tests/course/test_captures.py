"""Captures to read: made over real sockets, kept, and asked about; slips get the hint that is about them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

import labkit
from labkit import loop
from labkit.claims import recording
from labkit.course import captures, students
from labkit.course.captures import Capture, capture_of
from labkit.course.http_streaming import captured as streamed
from labkit.course.websocket import captured as talked
from labkit.errors import LabkitError
from labkit.wire.close_codes import encode_close
from labkit.wire.frames import Frame, Opcode, apply_mask


@pytest.fixture(autouse=True)
def none_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_CLAIMS", str(tmp_path / "claims.jsonl"))
    monkeypatch.setattr(captures, "_newest", {})
    monkeypatch.setattr(students, "_student", None)


@pytest.fixture(scope="module")
def lab() -> Iterator[labkit.Lab]:
    with labkit.Lab("captures") as lab:
        yield lab


def drawn(seed: int) -> tuple[tuple[str, str], list[int]]:
    """How a stream of this seed ends, and how many bytes of data its chunks have."""
    chance = random.Random(seed)
    ending = chance.choice(streamed.ENDINGS)
    sizes = [chance.randint(*chance.choice(streamed.SIZES)) for _ in range(chance.randint(4, 6))]
    return ending, [len(f'{{"id":{n},"data":"{"x" * size}"}}\n') for n, size in enumerate(sizes, 1)]


def stream(lab: labkit.Lab, path: Path, seed: int) -> Capture:
    return capture_of("03", path, False, lambda: loop.run(streamed._conversation(lab, random.Random(seed))))


@pytest.mark.parametrize("ending", streamed.ENDINGS)
def test_a_stream_ends_as_was_drawn_and_its_numbers_are_those_of_what_was_sent(
    lab: labkit.Lab, tmp_path: Path, ending: tuple[str, str]
) -> None:
    seed = next(seed for seed in range(100) if drawn(seed)[0] == ending)
    capture = stream(lab, tmp_path / "a.pcapng", seed)
    lines = drawn(seed)[1]
    framing = [len(f"{line:x}") + 4 for line in lines]
    head, _, body = capture.sent_by("server").partition(b"\r\n\r\n")
    cursor = body.index(b"\n", body.index(b'{"cursor"')) + 3
    place = len(head) + 4 + cursor + lines[0] + framing[0] + lines[1] + framing[1] + framing[2] - 2
    found = streamed.Stream.of(capture)
    assert (found.closer, found.whole) == (ending[0], ending[1] == "whole")
    for id, right in (("03.5", framing[2]), ("03.6", place), ("03.7", ", ".join(ending))):
        assert labkit.answer(id, right).right is True, id
        assert recording.answers()[id]["right"] is True
    for id, wrong in (("03.5", framing[2] + 9), ("03.6", place + 9), ("03.7", ", ".join(reversed(ending)))):
        assert labkit.answer(id, wrong).right is False, id


@pytest.fixture(scope="module")
def read(lab: labkit.Lab, tmp_path_factory: pytest.TempPathFactory) -> streamed.Stream:
    """A stream that the client closes when it is whole, whose second and third events have sizes of other lengths."""
    path = tmp_path_factory.mktemp("captures") / "b.pcapng"
    seed = next(s for s in range(1000) if drawn(s)[0] == ("client", "whole") and _digits(s, 3) - _digits(s, 2) == 1)
    return streamed.Stream.of(stream(lab, path, seed))


def _digits(seed: int, number: int) -> int:
    return len(f"{drawn(seed)[1][number - 1]:x}")


def test_a_slip_in_counting_framing_is_told(read: streamed.Stream) -> None:
    right = read.framing_of(read.event_at(3))
    size = read.chunk_at(read.event_at(3))[2]
    for said, hint in (
        (right - 4, "the digits alone"),
        (right - 2, "Two bytes are missing"),
        (right - 1, "The first chunk holds the cursor"),
        (size, "That is the data"),
        (size + right, "the whole chunk"),
        (99, "Found 99."),
        (right + 0.5, "Found"),
        (float("nan"), "Found nan."),
    ):
        assert hint in (streamed.framing_of_third(read, said) or ""), said
    assert streamed.framing_of_third(read, right) is None


def test_one_line_end_forgotten_is_told_before_another_chunk(lab: labkit.Lab, tmp_path: Path) -> None:
    """Four digits and one CR LF are as many bytes as two digits and both."""
    seed = next(s for s in range(2000) if _digits(s, 3) == 4 and _digits(s, 2) == 2 and drawn(s)[0][1] == "whole")
    third = streamed.Stream.of(stream(lab, tmp_path / "four.pcapng", seed))
    assert third.framing_of(third.event_at(3)) == 8 and third.framing_of(third.event_at(2)) == 6
    assert "Two bytes are missing" in (streamed.framing_of_third(third, 6) or "")


def test_a_slip_in_finding_a_place_is_told(read: streamed.Stream) -> None:
    right = read.event_at(3)
    begins = read.chunk_at(right)[0]
    for said, hint in (
        (right + 1, "One too many"),
        (right - 1, "One too few"),
        (begins, "There its chunk begins"),
        (begins + 1, "the seq of its packet"),
        (right - read.body_at, "Counted from the first byte of the body"),
        (right - begins, "begins in its chunk"),
        (read.event_at(2), "the second event"),
        (read.event_at(4), "the fourth event"),
        (begins + 41, "seq begins at 1, and the size line"),
        (right + 40, "40 bytes of IP and TCP header are counted in"),
        (right + 41, "and seq begins at 1."),
        (right - begins + 40, "in the dump of its packet"),
        (7_777_777, "Found 7777777."),
    ):
        assert hint in (streamed.place_of_third(read, said) or ""), said


def test_a_slip_about_the_end_is_told(read: streamed.Stream) -> None:
    assert "not the server that closes first" in (streamed.end_of(read, ("server", "whole")) or "")
    assert "The body is whole" in (streamed.end_of(read, ("client", "cut")) or "")
    for value in ("nobody, whole", "client", 17, ("client", "whole", "yes")):
        with pytest.raises((ValueError, TypeError)):
            streamed.words(value)
    assert streamed.words("Client whole") == streamed.words(("client", "whole")) == ("client", "whole")


def test_a_capture_is_made_once_and_then_opened(lab: labkit.Lab, tmp_path: Path) -> None:
    path = tmp_path / "05.pcapng"
    first = talked.capture(lab, path)
    data = path.read_bytes()
    again = talked.capture(lab, path)
    assert (first.made, again.made) == (True, False) and path.read_bytes() == data
    assert again.packets == first.packets and "was there" in repr(again) and "written" in repr(first)
    assert talked.capture(lab, path, again=True).made and path.read_bytes() != data


def test_a_capture_is_the_student_s_who_made_it(lab: labkit.Lab, tmp_path: Path) -> None:
    path = tmp_path / "05.pcapng"
    labkit.student("Alice")
    made = talked.capture(lab, path)
    assert made.student == "Alice" and "05.pcapng, for Alice: written." in repr(made)
    right = int.from_bytes(made.sent_by("server")[-2:], "big")
    assert labkit.answer("05.7", right).right is True
    labkit.student("bob")
    found = labkit.answer("05.7", right)  # of the file that alice's cell has opened
    assert found.right is None and "is the capture of Alice, and bob works here" in str(found)
    with pytest.raises(LabkitError, match="is the capture of Alice, and bob works here"):
        talked.capture(lab, path)
    assert talked.capture(lab, tmp_path / "of_bob.pcapng").student == "bob"
    labkit.student("alice ")
    assert "05.pcapng, for Alice: was there" in repr(talked.capture(lab, path))


def test_a_capture_of_nobody_is_anybody_s(lab: labkit.Lab, tmp_path: Path) -> None:
    path = tmp_path / "05.pcapng"
    assert talked.capture(lab, path).student == ""
    labkit.student("bob")
    assert talked.capture(lab, path).student == ""


def test_a_file_without_packets_is_said_to_have_none(lab: labkit.Lab, tmp_path: Path) -> None:
    path = tmp_path / "05.pcapng"
    data = talked.capture(lab, path).path.read_bytes()
    for left, said in (
        (b"", r"05\.pcapng is empty\. Delete it"),
        (data[: int.from_bytes(data[4:8], "little")], "holds no packets"),
    ):
        path.write_bytes(left)
        with pytest.raises(LabkitError, match=said):
            talked.capture(lab, path)


@pytest.mark.parametrize(
    ("value", "number"),
    [("0x14a8", 5288), ("12 49", 4681), ("12:49", 4681), (" 0X1249 ", 4681), (b"\x12\x49", 4681), ("4681", 4681),
     (4681.0, 4681)],
)  # fmt: skip
def test_a_number_may_be_said_in_hexadecimal_where_that_is_plain(value: object, number: int) -> None:
    assert captures.number(value) == number


def test_what_is_no_number_is_none() -> None:
    for value in ("", "0x", "12 4", "word", None):
        with pytest.raises((ValueError, TypeError)):
            captures.number(value)


def test_a_file_that_is_no_capture_is_said_to_be_none(lab: labkit.Lab, tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    good = talked.capture(lab, path).path.read_bytes()
    for bad in (b"", b"hello, world", good[:-7], good[:100] + good[104:]):
        path.write_bytes(bad)
        with pytest.raises(LabkitError, match="Delete it"):
            streamed.capture(lab, path)
    path.write_bytes(good)  # of a WebSocket
    streamed.capture(lab, path)
    assert "holds no stream" in str(labkit.answer("03.5", 7))
    with pytest.raises(LabkitError, match="cannot be written"):
        talked.capture(lab, tmp_path / "nowhere" / "x.pcapng")


@pytest.mark.parametrize("id", ["03.5", "03.6", "03.7", "05.5", "05.6", "05.7"])
def test_without_a_capture_nothing_is_judged_and_nothing_kept(id: str) -> None:
    value = {"03.7": "client, whole", "05.5": "00 11 22 33", "05.6": "word"}.get(id, 7)
    found = labkit.answer(id, value)
    assert found.right is None and "run the cell that makes it" in str(found)
    assert labkit.answer(id, None).right is None
    assert id not in recording.answers()


@pytest.fixture(scope="module")
def talk(lab: labkit.Lab, tmp_path_factory: pytest.TempPathFactory) -> talked.Conversation:
    return talked.Conversation.of(talked.capture(lab, tmp_path_factory.mktemp("captures") / "c.pcapng"))


def test_the_questions_on_a_websocket_are_answered_by_its_bytes(lab: labkit.Lab, tmp_path: Path) -> None:
    capture = talked.capture(lab, tmp_path / "c.pcapng")
    frames = capture.sent_by("client").partition(b"\r\n\r\n")[2]
    key, masked = frames[2:6], frames[6:14]
    assert capture[8].packet.data == frames[:14], "packet 8 has the client's first frame"
    assert labkit.answer("05.5", key).right and labkit.answer("05.5", key.hex(" ")).right
    assert labkit.answer("05.6", apply_mask(masked, key).decode()).right
    assert labkit.answer("05.7", int.from_bytes(capture.sent_by("server")[-2:], "big")).right


def test_a_slip_in_reading_a_frame_is_told(talk: talked.Conversation) -> None:
    header = bytes([0x81, 0x80 | len(talk.first.payload)])
    assert talk.sent[1].mask is not None
    for said, hint in (
        (talk.masked_word[:4], "first four bytes of the payload"),
        (header + talk.key[:2], "two bytes of header stand before"),
        (talk.key[::-1], "from behind"),
        (talk.sent[1].mask, "the client's frame 2"),
        (talk.key + b"\0", "A masking key has 4 bytes, not 5."),
        (b"\0\0\0\0", "Found 00 00 00 00."),
    ):
        assert hint in (talked.masking_key(talk, said) or ""), said
    word = talk.first.payload.decode()
    for text, hint in (
        (talk.masked_word.decode("latin-1"), "still masked"),
        (talk.masked_word.hex(" "), "still masked"),
        (apply_mask(talk.masked_word, talk.key[1:] + talk.key[:1]).decode("latin-1"), "from its byte 1 on"),
        (word[:4], "4 letters of it are right"),
        (word.upper() + " ", "Nearly"),
        (word[:-1] + "~", f"Letter {len(word)} is wrong; those before it are right."),
        ("~" + word[1:], "The first letter is wrong."),
        ("no", "It has 8 letters, found 2."),
    ):
        assert hint in (talked.word(talk, text) or ""), text
    payload, key = talk.sent[-1].payload, talk.sent[-1].mask
    assert key is not None
    for code, hint in (
        (int.from_bytes(apply_mask(payload, key)[:2], "big"), "still masked"),
        (int.from_bytes(payload[:2], "little"), "from behind"),
        (0x8800 + len(payload), "the header of the frame"),
        (1, "Found 1."),
    ):
        assert hint in (talked.close_code(talk, code) or ""), code


def test_hexadecimal_digits_that_are_read_as_decimal_are_told() -> None:
    close = Frame(Opcode.CLOSE, encode_close(4681, "done"), mask=b"\1\2\3\4")
    talk = talked.Conversation("", [close], [])
    assert talked.close_code(talk, 1249) == "Those are the hexadecimal digits, read as decimal: 12 49 is 0x1249."
    assert talked.close_code(talk, 4681) is None
    letters = talked.Conversation("", [Frame(Opcode.CLOSE, encode_close(4000, "done"), mask=b"\1\2\3\4")], [])
    assert talked.close_code(letters, 1249) == "Found 1249."


def test_a_star_in_a_dump_is_explained(lab: labkit.Lab, tmp_path: Path) -> None:
    seed = next(s for s in range(1000) if _digits(s, 1) == 4 and drawn(s)[0][1] == "whole")
    capture = stream(lab, tmp_path / "long.pcapng", seed)
    dumps = [repr(capture[number]) for number in range(1, len(capture.packets) + 1)]
    starred = [dump for dump in dumps if "\n*\n" in dump]
    assert starred and all(dump.endswith("\n(*: lines like the one above it)") for dump in starred)
    assert not any("(*:" in dump for dump in dumps if dump not in starred)


def test_packets_are_numbered_from_one_and_printed(lab: labkit.Lab, tmp_path: Path) -> None:
    capture = talked.capture(lab, tmp_path / "c.pcapng")
    printed = repr(capture[4])
    assert printed.startswith("packet 4, ") and "0000  47 45 54 20" in printed and "GET /web" in printed
    assert "<pre" in capture[4]._repr_html_() and len(capture.table()) == len(capture.packets)
    for number in (0, len(capture.packets) + 1):
        with pytest.raises(IndexError, match="numbered from 1"):
            capture[number]
