"""The exercises of 14_later_http."""

from __future__ import annotations

from labkit.claims.exercises import Drawn, Exercise
from labkit.theory.field_blocks import huffman_bytes, repeated_request_bytes

TOPICS = ("board", "prices", "scores", "a")


def _request_bytes(fields: int, path: str) -> Exercise:
    wanted = repeated_request_bytes(fields, [path])
    code = huffman_bytes(path)
    return Exercise(
        "bytes",
        lambda size: None if size == wanted else f"Found {size:g}, and it is not that.",
        f"9 of frame header, {fields} for the fields that are as they were, 2 + {code} for the path in the Huffman "
        f"code: {wanted}.",
        "a field that is as it was takes one byte; the path one for its name, one for its length, and its code: "
        "labkit.theory.field_blocks.huffman_bytes counts that.",
        question=f"A browser's request has {fields} fields besides `:path`. All of them were sent before; the path is "
        f"`{path}`, and new. How many bytes has its HEADERS frame?",
    )


def _window(unread: int, stream_mib: int) -> Exercise:
    least = unread * stream_mib << 20

    def judge(size: float) -> str | None:
        if size <= least:
            return f"{unread} streams may hold {least} bytes of it, and nothing is left."
        return None if size <= 16 * least else "It is enough, and a server may now fill that much of your memory."

    return Exercise(
        "bytes",
        judge,
        f"More than {unread} streams' windows, {unread * stream_mib} MiB; Chrome gives 15 MiB to a connection and 6 "
        "MiB to a stream.",
        "each stream that is not read keeps one window of a stream from the others.",
        question=f"A client gives each stream a window of {stream_mib} MiB. {unread} of its streams may be left "
        "unread. How large must the connection's window be, in bytes, so that the others never starve?",
    )


def _connections(pages: int, streams: int) -> Exercise:
    wanted = pages * streams
    return Exercise(
        "connections",
        lambda count: None if count == wanted else "Count behind the edge, not in front of it.",
        f"{pages} pages with {streams} streams each: at the edge {pages} connections, behind it {wanted} as before.",
        "what does a program that speaks HTTP/2 to the page speak to your server?",
        question=f"{pages} pages hold {streams} streams each, through an edge that speaks HTTP/2 to them and HTTP/1.1 "
        "to your server. How many connections does your server hold?",
    )


EXERCISES: dict[str, Exercise | Drawn] = {
    "14.1": Drawn(
        _request_bytes,
        {"fields": (15, 12, 17, 20), "path": tuple(f"/polling?topic={topic}&after=17@k3f9" for topic in TOPICS)},
    ),
    "14.2": Drawn(_window, {"unread": (3, 2, 4, 5), "stream_mib": (1, 2, 4)}),
    "14.3": Drawn(_connections, {"pages": (4000, 2500, 6000, 1500), "streams": (3, 2, 4)}),
}
