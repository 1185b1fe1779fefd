"""br and zstd: offered where they can be read, read as they come, and said where they cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from planted_streams import LAST, STEP_S, STREAM, Answer, Step, chunk, events, flowing, head, planted
from steady import probed, rows

from labkit.strangers.probe import plan
from labkit.strangers.probe.probing import probe
from labkit.wire.codings import is_readable


def coder(coding: str) -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    """What codes a piece, and what flushes."""
    if coding == "br":
        compressor = pytest.importorskip("brotli").Compressor(quality=4)
        return compressor.process, compressor.flush
    zstandard = pytest.importorskip("zstandard")
    one = zstandard.ZstdCompressor().compressobj()
    return one.compress, lambda: one.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)


def coded(coding: str, *, flushes: bool) -> Answer:
    def answer(asked: str) -> Iterator[Step]:
        if coding not in asked.partition("Accept-Encoding:")[2].partition("\r\n")[0]:
            yield from flowing(1000)
            return
        code, flush = coder(coding)
        yield head("200 OK", STREAM, f"Content-Encoding: {coding}")
        for one in events(1000):
            yield STEP_S
            yield chunk(code(one) + (flush() if flushes else b""))

    return answer


@pytest.mark.timing
@pytest.mark.parametrize("flushes", [True, False], ids=["flushed", "not flushed"])
@pytest.mark.parametrize("coding", ["br", "zstd"])
def test_a_compressor_that_holds_back_is_seen_in_any_coding(coding: str, flushes: bool) -> None:
    if not is_readable(coding):
        pytest.skip(f"nothing installed here decodes {coding}")
    with planted(coded(coding, flushes=flushes)) as url:
        wanted = [] if flushes else [(3, "seen")]
        report = probed(url, wanted, 1.5, headers={"Accept-Encoding": coding})
    assert rows(report) == wanted, str(report)
    assert report.seen.first.headers["content-encoding"] == coding
    assert bool(report.seen.first.events) is flushes


@pytest.mark.parametrize("found", [("gzip", "deflate"), ("gzip", "deflate", "br", "zstd")], ids=["two", "four"])
def test_what_is_read_is_offered_and_what_is_not_is_said(
    found: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "readable", lambda: found)
    monkeypatch.setattr(plan, "is_readable", found.__contains__)
    asked, said = list[str](), list[str]()

    def answer(request: str) -> Iterator[Step]:
        asked.append(request)
        yield from flowing(1)
        yield LAST

    with planted(answer) as url:
        probe(url, seconds=20, say=said.append)
    assert f"\r\nAccept-Encoding: {', '.join(found)}\r\n" in asked[0]
    (line,) = (line for line in said if line.startswith("  Accept-Encoding: "))
    assert ("not br and zstd" in line and "labkit[codings]" in line) is (len(found) == 2)


def test_a_coding_that_nobody_asked_for_is_one_sentence() -> None:
    def answer(_: str) -> Iterator[Step]:
        yield head("200 OK", STREAM, "Content-Encoding: dcb") + chunk(b"whatever")

    with planted(answer) as url:
        report = probe(url, seconds=20, say=None)
    (found,) = report.findings
    assert report.status == 1 and found.grade == "seen"
    assert found.says == "the answer is in dcb, which Accept-Encoding did not offer"
    assert found.remedy[0].startswith("answer in a coding that Accept-Encoding names")


def test_a_coding_that_was_asked_for_and_is_not_read_here_says_what_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for user in ("client.http_connection", "strangers.probe.rules.refused"):
        monkeypatch.setattr(f"labkit.{user}.is_readable", ("gzip", "deflate").__contains__)

    def answer(_: str) -> Iterator[Step]:
        yield head("200 OK", STREAM, "Content-Encoding: br") + chunk(b"whatever")

    with planted(answer) as url:
        report = probe(url, seconds=20, headers={"Accept-Encoding": "br"}, say=None)
    (found,) = report.findings
    assert found.says.startswith("it could not be read: ") and "labkit[codings]" in found.remedy[0]
    assert report.status == 2
