"""What may be answered to bytes on an HTTP/2 connection (RFC 9113 sections 5.4 and 8.1.1), and whether it was."""

from __future__ import annotations

from dataclasses import dataclass

from raw_http2 import Code, Kind, Peer, ping, status

PROBE = 9001  # a stream above those of every case


@dataclass(frozen=True)
class Dies:
    """GOAWAY with one of these codes, and the end (section 5.4.1)."""

    codes: tuple[Code, ...]
    unsaid: bool = False  # the end alone will do (section 3.4)

    def judge(self, peer: Peer) -> str:
        """What is wrong; empty if nothing is."""
        try:
            while peer.read() is not None:
                pass
        except TimeoutError:
            return f"no end: {peer.story()}"
        said = [got.code for got in peer.got if got.kind == Kind.GOAWAY]
        right = said[-1] in self.codes if said else self.unsaid
        return "" if right else f"no such GOAWAY: {peer.story()}"


@dataclass(frozen=True)
class Resets:
    """RST_STREAM with one of these codes, and the connection goes on; or GOAWAY with one of them (section 5.4)."""

    stream: int
    codes: tuple[Code, ...]
    statuses: tuple[int, ...] = ()  # or such an answer (section 8.1.1)
    ignores: bool = False  # or nothing at all (section 5.1, closed)

    def judge(self, peer: Peer) -> str:
        if self.ignores:
            peer.send(ping(b"ignored?"))
        try:
            while (got := peer.read()) is not None:
                if got.kind == Kind.RST_STREAM and got.stream == self.stream:
                    return live(peer) if got.code in self.codes else f"another code: {peer.story()}"
                if got.kind == Kind.HEADERS and got.stream == self.stream and status(got) in self.statuses:
                    return live(peer)
                if self.ignores and got.kind == Kind.PING:
                    return live(peer)
        except TimeoutError:
            return f"no reset: {peer.story()}"
        return Dies(self.codes).judge(peer)


@dataclass(frozen=True)
class Answers:
    """These streams get an answer with this status, and the connection goes on."""

    streams: tuple[int, ...] = ()
    status: int = 200

    def judge(self, peer: Peer) -> str:
        try:
            for stream in self.streams:
                ended = any(got.ends for got in peer.of(stream))
                got = 0 if ended else peer.until(lambda got, s=stream: got.stream == s and got.ends)
                said = [status(head) for head in peer.of(stream, Kind.HEADERS)]
                if self.status not in said:
                    return f"{stream} is answered {said}, {got}"
        except AssertionError as error:
            return str(error)
        return live(peer)


def live(peer: Peer) -> str:
    """Whether a PING and a request are answered still."""
    try:
        peer.echo()
        code = peer.ask(PROBE)
    except (AssertionError, TimeoutError) as error:
        return f"not live: {error}"
    if any(got.kind == Kind.GOAWAY for got in peer.got):
        return f"a GOAWAY: {peer.story()}"
    return "" if code == 200 else f"the request behind it is answered {code}"
