"""The claims: where each comes from, its sentence, the notebook that puts it to the test, and its unit.

What stands in quotation marks is verbatim, ``[...]`` marks what is left out; the rest is the claim in our words. The
founding notes stand in Korean with a translation. *practice* is what engineers say with no one source.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """Where a claim comes from, its sentence, the unit of what its experiment measures, and its notebook."""

    source: str
    sentence: str
    unit: str = "s"
    notebook: str = ""


SOURCES: dict[str, Source] = {
    "P1": Source(
        "founding notes; RFC 6202 section 2.1",
        "서버의 변경에 즉시 대응하지 못함 (it cannot react at once to a change on the server)",
        "s",
        "01_polling",
    ),
    "P2": Source(
        "RFC 6202 section 2.1",
        "“the consumed resources (server processing and network) strongly depend on the acceptable "
        "latency in the delivery of updates from server to client”",
        "bytes",
        "01_polling",
    ),
    "P3": Source(
        "founding notes",
        "커넥션을 유지하지 않아도 돼 서버에 부하가 적음 (no connection has to be kept, so it is light on the server)",
        "s",
        "01_polling",
    ),
    "P4": Source("practice", "ETag and 304 make empty polls cheaper", "", "01_polling"),
    "P5": Source("Kaazing; High Performance Browser Networking", "the published overhead tables", "", "01_polling"),
    "N1": Source(
        "founding notes",
        "서버에서 작업이 즉시 처리되지 않고, 처리되기까지 대기 "
        "(work is not processed at once at the server, one waits until it is)",
        "s",
        "01_polling",
    ),
    "L1": Source(
        "RFC 6202 section 2.2",
        "“while the average latency of long polling is close to one network transit, the maximal "
        "latency is over three network transits”",
        "s",
        "02_long_polling",
    ),
    "L1b": Source(
        "founding notes", "폴링에 비해 실시간 처리가 가능 (nearer to real time than polling)", "s", "02_long_polling"
    ),
    "L2": Source(
        "founding notes",
        "여러번 응답을 해야 하는 상황에서는 효율이 좋지 않음 (inefficient where the server has to answer many times)",
        "requests",
        "02_long_polling",
    ),
    "L3": Source(
        "RFC 6202 section 2.2",
        "“A long polling client or server that is under load has a natural tendency to gracefully "
        "degrade in performance at a cost of message latency.”",
        "events",
        "02_long_polling",
    ),
    "L4": Source(
        "RFC 6202 section 2.2",
        "“every long poll request and long poll response is a complete HTTP message and thus contains"
        " a full set of HTTP headers in the message framing”",
        "",
        "02_long_polling",
    ),
    "L5": Source(
        "RFC 6202 section 2.2",
        "“both polling mechanisms work well with persistent HTTP connections that can be reused for "
        "many poll requests”",
        "s",
        "02_long_polling",
    ),
    "L6": Source(
        "founding notes; RFC 6202 section 5.5",
        "Time-out 오류가 발생할 수 있음 (time-out errors can occur); 30 s is safe, 120 s has worked",
        "s",
        "02_long_polling",
    ),
    "L7": Source(
        "founding notes; RFC 6202 section 2.2",
        "커넥션을 유지 (it keeps the connection): a connection and a request are held for each client",
        "KiB",
        "02_long_polling",
    ),
    "L8": Source(
        "practice",
        "an event between two polls is lost unless there is a cursor",
        "events",
        "02_long_polling",
    ),
    "L10": Source(
        "RFC 6202 sections 2.2 and 5.2",
        "“When HTTP pipelining [...] is available, the latency due to the server waiting for a new "
        "request can be avoided.” And practice: a plain GET then queues behind the poll",
        "s",
        "02_long_polling",
    ),
    "L11": Source(
        "RFC 6202 section 5.1",
        "few connections to a host: a second tab starves or must share",
        "requests",
        "02_long_polling",
    ),
    "L12": Source(
        "practice",
        "holding connections is heavy for a server with a thread for each request",
        "s",
        "02_long_polling",
    ),
    "S1": Source(
        "founding notes; RFC 6202 section 3.1",
        "HTTP/1.0에서는 EOF만 사용가능 (HTTP/1.0 can only use EOF), HTTP/1.1에서는 EOF와 chunked (HTTP/1.1 EOF "
        "and chunked); “An HTTP/1.0 server can use only EOF as a streaming mechanism. In contrast, "
        'both EOF and "chunked transfer" are available to an HTTP/1.1 server.”',
        "",
        "03_http_streaming",
    ),
    "S1b": Source(
        "founding notes",
        "EOF와 chunked transfer를 사용하여 연결을 지속함 (EOF and chunked transfer are used to keep the connection)",
        "",
        "03_http_streaming",
    ),
    "S2": Source(
        "RFC 6202 section 3.1",
        "“The main issue with EOF is that it is difficult to tell the difference between a connection"
        " terminated by a fault and one that is correctly terminated.”",
        "",
        "03_http_streaming",
    ),
    "S3": Source(
        "RFC 6202 section 3.2",
        "“an HTTP streaming protocol's average and maximal latency is one network transit. [...] the "
        "maximal latency is at least three network transits.” [since a stream is ended now and then, and asked for "
        "again]",
        "s",
        "03_http_streaming",
    ),
    "S5": Source(
        "RFC 6202 section 3.2",
        "“it is not possible to use the HTTP chunks as application message delimiters, since "
        'intermediate proxies might "re-chunk" the message stream”',
        "",
        "03_http_streaming",
    ),
    "S6": Source(
        "RFC 6202 section 3.2",
        "“There is no requirement in existing HTTP specifications for a client library to make the "
        "data from a partial HTTP response available to the client application.”",
        "bytes",
        "03_http_streaming",
    ),
    "S8": Source("practice", "multipart lags by one event when the boundary leads", "events", "03_http_streaming"),
    "T2": Source("practice", "Nagle and delayed acknowledgement add a step", "s", "03_http_streaming"),
    "E1": Source(
        "WHATWG HTML 9.2.5 and 9.2.6",
        "Lines must be processed, in the order they are received, as follows [every rule for a line and a field]",
        "rules",
        "04_server_sent_events",
    ),
    "E2": Source(
        "WHATWG HTML 9.2.3",
        "“Wait a delay equal to the reconnection time of the event source. [...] Set (Last-Event-ID, "
        "lastEventIDValue) in request's header list”",
        "s",
        "04_server_sent_events",
    ),
    "E3": Source(
        "WHATWG HTML 9.2.1 and 9.2.2",
        "“a client can be told to stop reconnecting using the HTTP 204 No Content response code; "
        "[...] if res's Content-Type is not text/event-stream, then fail the connection”",
        "requests",
        "04_server_sent_events",
    ),
    "E5": Source(
        "High Performance Browser Networking, chapter on WebSocket",
        "“SSE adds as little as 5 bytes per message but is restricted to UTF-8 content only”",
        "bytes",
        "04_server_sent_events",
    ),
    "E6": Source("practice", "a comment heartbeat tells the page nothing", "s", "04_server_sent_events"),
    "W1": Source(
        "founding notes", "HTTP 프로토콜을 사용하지 않음 (it does not use the HTTP protocol)", "", "05_websocket"
    ),
    "W2": Source(
        "founding notes",
        "양방향으로 ... 언제든 서로 데이터를 보낼 수 있음 (both ways, either side can send at any time)",
        "s",
        "05_websocket",
    ),
    "W3": Source(
        "RFC 6455 section 5.2",
        "a header of 2, 4 or 10 bytes, and 4 more when it is masked",
        "bytes",
        "05_websocket",
    ),
    "W4": Source(
        "RFC 6455 section 5.1",
        "a client MUST mask all frames that it sends to the server [...] A server MUST NOT mask any "
        "frames that it sends to the client.",
        "",
        "05_websocket",
    ),
    "W5": Source(
        "RFC 6455 section 5.4",
        "Control frames (see Section 5.5) MAY be injected in the middle of a fragmented message. "
        "Control frames themselves MUST NOT be fragmented.",
        "",
        "05_websocket",
    ),
    "W6": Source(
        "RFC 6455 section 7.4.1",
        "1005 is a reserved value and MUST NOT be set as a status code in a Close control frame by an"
        " endpoint. [and which other codes may travel]",
        "",
        "05_websocket",
    ),
    "W7": Source(
        "RFC 6455 section 5.5.2",
        "A Ping frame may serve either as a keepalive or as a means to verify that the remote "
        "endpoint is still responsive.",
        "s",
        "05_websocket",
    ),
    "W9": Source("RFC 7692", "compression saves bytes and costs CPU and memory", "", "05_websocket"),
    "W10": Source(
        "Agarwal 2012",
        "against raw TCP the overhead of HTML sockets is up to 5 times, their delay up to 3 times",
        "",
        "05_websocket",
    ),
    "W11": Source("Crossbar", "12 bytes for the largest frame from a client", "bytes", "05_websocket"),
    "X1": Source("founding notes", "browser plugins were one way to push", "", "06_plugins_and_relatives"),
    "X2": Source("history", "the forever frame and JSONP polling worked everywhere", "", "06_plugins_and_relatives"),
    "X3": Source(
        "RFC 6202 sections 4.1 and 4.2",
        "Bayeux and BOSH are long polling with manners",
        "s",
        "06_plugins_and_relatives",
    ),
    "A1": Source("practice", "no technique is best in every column", "", "08_side_by_side"),
    "A7": Source("Jupyter", "the notebook itself is an intermediary", "events", "12_where_the_server_lives"),
    "A8": Source(
        "practice",
        "where the server lives decides what a busy cell does to it",
        "s",
        "12_where_the_server_lives",
    ),
    "A9": Source(
        "practice",
        "where only the newest value matters, above the link's rate conflation gives a lower mean age"
        " at fewer bytes than delivering every event",
        "s",
        "08_side_by_side",
    ),
    "A10": Source(
        "practice",
        "upstream a WebSocket needs fewer bytes a message than POST; POSTs on several connections can"
        " swap order, a WebSocket cannot",
        "bytes",
        "08_side_by_side",
    ),
    "B1": Source("browsers", "a hidden tab is another client", "s", "07_control_room"),
}
