"""Content codings, whole, byte by byte and without an end; br and zstd where something here decodes them."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterator

import pytest

from labkit.wire import codings
from labkit.wire.bodies import AsItComes, decoded
from labkit.wire.codings import CODINGS, PIECE_BYTES, Undecodable, brought_by, decoder, is_readable, readable
from labkit.wire.event_stream import EventStreamDecoder

EVENTS = [f"id: {number}\ndata: event {number}\n\n".encode() for number in range(20)]
Coder = Callable[[], tuple[Callable[[bytes], bytes], Callable[[], bytes]]]
"""Gives what codes a piece and flushes it, and what ends it."""


def test_what_would_let_a_coding_be_read_is_said_where_it_is_known() -> None:
    assert "labkit[codings]" in brought_by("br") and brought_by("compress") == ""


def deflated(wbits: int) -> Coder:
    def begun() -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
        coder = zlib.compressobj(wbits=wbits)
        return lambda data: coder.compress(data) + coder.flush(zlib.Z_SYNC_FLUSH), coder.flush

    return begun


def brotli_coded() -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    coder = pytest.importorskip("brotli").Compressor()
    return lambda data: coder.process(data) + coder.flush(), coder.finish


def zstd_coded() -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    zstandard = pytest.importorskip("zstandard")
    coder = zstandard.ZstdCompressor().compressobj()
    return lambda data: coder.compress(data) + coder.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK), coder.flush


CODERS: dict[str, Coder] = {"gzip": deflated(31), "deflate": deflated(15), "br": brotli_coded, "zstd": zstd_coded}


@pytest.fixture(params=CODERS)
def coding(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if not is_readable(name):
        pytest.skip(f"nothing installed here decodes {name}")
    return name


def coded(coding: str, pieces: list[bytes]) -> list[bytes]:
    """Each piece flushed, and the end."""
    code, end = CODERS[coding]()
    return [*map(code, pieces), end()]


def test_every_coding_that_is_known_is_tried() -> None:
    assert set(CODERS) == set(CODINGS)


def test_what_was_flushed_is_there_at_once(coding: str) -> None:
    told, stream = decoder(coding), b""
    *flushed, end = coded(coding, EVENTS)
    for place, piece in enumerate(flushed, 1):
        stream += b"".join(byte for at in range(len(piece)) for byte in told.feed(piece[at : at + 1]))
        assert stream == b"".join(EVENTS[:place])
    assert not told.is_whole
    assert b"".join(told.feed(end)) == b"" and told.is_whole


@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_where_an_event_ends_does_not_depend_on_where_reads_were_cut(coding: str, size: int) -> None:
    body = b"".join(coded(coding, EVENTS))

    def told(size: int) -> Iterator[tuple[object, int]]:
        reading = decoded(EventStreamDecoder(), coding)
        for at in range(0, len(body), size):
            for value, runs in reading.items(body[at : at + size]):
                yield value, sum(run[0] for run in runs)
        for value, runs in reading.end():
            yield value, sum(run[0] for run in runs)

    found = list(told(size))
    assert found == list(told(7))
    assert sum(count for _, count in found) == len(body)
    assert len([value for value, _ in found if value is not None]) == len(EVENTS)


def test_a_body_that_expands_a_thousandfold_comes_in_small_pieces(coding: str) -> None:
    body = b"".join(coded(coding, [bytes(1 << 24)]))
    told, total = decoder(coding), 0
    for at in range(len(body)):
        for piece in told.feed(body[at : at + 1]):
            assert len(piece) <= 4 * PIECE_BYTES
            total += len(piece)
    assert total == 1 << 24 and told.is_whole


def test_what_is_not_of_the_coding_is_said_so(coding: str) -> None:
    with pytest.raises(Undecodable):
        told = decoder(coding)
        for _ in range(40):
            list(told.feed(b"\xff\xfe no such thing, and more of it"))
    reading = decoded(AsItComes(), coding)
    for _ in range(40):
        reading.items(b"\xff\xfe no such thing, and more of it")
    assert CODINGS[coding] in str(reading.error)  # type: ignore[attr-defined]


def test_a_second_member_goes_on_where_the_format_has_some(coding: str) -> None:
    body = b"".join(coded(coding, [b"one"])) + b"".join(coded(coding, [b"two"]))
    if coding in ("br", "deflate"):
        with pytest.raises(Undecodable):
            told = decoder(coding)
            for at in range(len(body)):
                list(told.feed(body[at : at + 1]))
    else:
        told = decoder(coding)
        assert b"".join(piece for at in range(len(body)) for piece in told.feed(body[at : at + 1])) == b"onetwo"


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refused(name: str) -> object:
        raise ImportError(name)

    codings._brotli.cache_clear()
    codings._zstd.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(importlib, "import_module", refused)
        yield
    codings._brotli.cache_clear()
    codings._zstd.cache_clear()


@pytest.mark.usefixtures("nothing_installed")
def test_without_a_decoder_a_coding_is_not_readable() -> None:
    assert readable() == ("gzip", "deflate")


def test_an_old_brotli_that_cannot_stop_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        class Decompressor:
            pass

    codings._brotli.cache_clear()
    monkeypatch.setattr(codings, "_installed", lambda name: Old)
    assert not is_readable("br")
    codings._brotli.cache_clear()
