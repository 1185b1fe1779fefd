"""Content codings, decoded as they come: gzip and deflate always, br and zstd where something installed decodes them.

A decoder takes coded bytes of any size and gives what they carry in pieces of bounded size, as soon as the coded side
has flushed them. Not here: coding anything, and which bytes an event took (``bodies``).
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Protocol

PIECE_BYTES = 1 << 16
WINDOW_LOG = 23
"""Of zstd: what a decoder must have room for, 8 MB, and what a sender may ask for at most (RFC 9659 section 3)."""
CODINGS = {"gzip": "RFC 1952 section 2.2", "deflate": "RFC 9110 section 8.4.1.2", "br": "RFC 7932", "zstd": "RFC 8878"}
"""Those that are known, and where each is specified."""
BROUGHT_BY = 'pip install "labkit[codings]"'


class Undecodable(Exception):
    """The bytes are not of the coding that they are said to be."""


class Decoder(Protocol):
    """One body in one coding."""

    @property
    def is_whole(self) -> bool:
        """Whether the coding has said its own end."""

    def copy(self) -> Decoder | None:
        """Another one that goes on from here; None where that cannot be had."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What *data* adds. Raises Undecodable."""


def readable() -> tuple[str, ...]:
    """The codings that can be decoded here."""
    return tuple(name for name in CODINGS if is_readable(name))


def is_readable(name: str) -> bool:
    """Whether bodies in the coding of that name can be decoded here."""
    if name == "br":
        return _brotli() is not None
    return _zstd() is not None if name == "zstd" else name in CODINGS


def brought_by(name: str) -> str:
    """What would let the coding of that name be read, in brackets; empty where nothing is known to."""
    return f" ({BROUGHT_BY})" if name in CODINGS else ""


def decoder(name: str) -> Decoder:
    """A new one for the coding of that name, which is readable."""
    if name == "br":
        return _Brotli()
    return _Zstd() if name == "zstd" else _Inflater(name)


@lru_cache(maxsize=1)
def _brotli() -> Any:
    """Google's brotli from 1.2 on: earlier ones give as much at once as the coded bytes want."""
    module = _installed("brotli")
    return module if hasattr(getattr(module, "Decompressor", None), "can_accept_more_data") else None


@lru_cache(maxsize=1)
def _zstd() -> Any:
    """Python 3.14's own, else zstandard."""
    return _installed("compression.zstd") or _installed("zstandard")


def _installed(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


class _Inflater:
    """A gzip stream of one or more members (RFC 1952 section 2.2), or a zlib stream.

    Many send deflated data bare, without the zlib format around it that RFC 9110 section 8.4.1.2 asks for: it is known
    by its first two bytes, which would have to be zlib's.
    """

    def __init__(self, coding: str) -> None:
        self._is_gzip = coding == "gzip"
        self._stream: Any = zlib.decompressobj(31) if self._is_gzip else None
        self._head = b""  # of which it is not known yet what it is

    def copy(self) -> _Inflater:
        twin = _Inflater("gzip" if self._is_gzip else "deflate")
        twin._stream, twin._head = self._stream and self._stream.copy(), self._head
        return twin

    @property
    def is_whole(self) -> bool:
        return self._stream is not None and bool(self._stream.eof)

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._stream is None:
            data = self._head = self._head + data
            if len(data) < 2:
                return
            is_zlib = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0  # RFC 1950 section 2.2
            self._stream = zlib.decompressobj(15 if is_zlib else -15)
        while data:
            if self._stream.eof:
                if not self._is_gzip:
                    raise Undecodable("something follows its end")
                self._stream = zlib.decompressobj(31)
            try:
                while piece := self._stream.decompress(data, PIECE_BYTES):
                    yield piece
                    data = self._stream.unconsumed_tail
            except zlib.error as error:
                raise Undecodable(error) from None
            data = self._stream.unused_data


class _Brotli:
    """A brotli stream (RFC 7932)."""

    def __init__(self) -> None:
        self._module = _brotli()
        self._stream = self._module.Decompressor()

    def copy(self) -> None:
        return None

    @property
    def is_whole(self) -> bool:
        return bool(self._stream.is_finished())

    def feed(self, data: bytes) -> Iterator[bytes]:
        if data and self.is_whole:
            raise Undecodable("something follows its end")
        while True:
            try:
                piece = self._stream.process(data, output_buffer_limit=PIECE_BYTES)
            except self._module.error:
                raise Undecodable("its bytes break the format") from None
            data = b""
            if piece:
                yield piece
            if not piece or self._stream.can_accept_more_data():
                return


class _Zstd:
    """Zstandard frames, one or more (RFC 8878 section 3); what is fed at once should be small, as one byte is."""

    def __init__(self) -> None:
        self._module = _zstd()
        self._stream = self._begun()

    def _begun(self) -> Any:
        if hasattr(self._module, "DecompressionParameter"):
            return self._module.ZstdDecompressor(
                options={self._module.DecompressionParameter.window_log_max: WINDOW_LOG}
            )
        return self._module.ZstdDecompressor(max_window_size=1 << WINDOW_LOG).decompressobj()

    def copy(self) -> None:
        return None

    @property
    def is_whole(self) -> bool:
        return bool(self._stream.eof)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._stream.eof:
                self._stream = self._begun()
            try:
                piece = self._stream.decompress(data)
            except self._module.ZstdError:
                raise Undecodable("its bytes break the format") from None
            if piece:
                yield piece
            data = self._stream.unused_data if self._stream.eof else b""
