"""All claims of the course, declared when this is loaded, in the order of the notebooks."""

from __future__ import annotations

from labkit.claims.checking import check, judge
from labkit.claims.claim import DECLARED, Claim, declare
from labkit.claims.predicting import predict
from labkit.claims.verdicts import book
from labkit.course.control_room.claims import CLAIMS as CONTROL_ROOM
from labkit.course.http_streaming.claims import CLAIMS as HTTP_STREAMING
from labkit.course.later_http.claims import CLAIMS as LATER_HTTP
from labkit.course.long_polling.claims import CLAIMS as LONG_POLLING
from labkit.course.polling.claims import CLAIMS as POLLING
from labkit.course.relatives.claims import CLAIMS as RELATIVES
from labkit.course.side_by_side.claims import CLAIMS as SIDE_BY_SIDE
from labkit.course.sse.claims import CLAIMS as SSE
from labkit.course.websocket.claims import CLAIMS as WEBSOCKET
from labkit.course.where_the_server_lives.claims import CLAIMS as WHERE_THE_SERVER_LIVES

__all__ = ["CLAIMS", "book", "check", "judge", "predict"]

declare(
    [
        *POLLING,
        *LONG_POLLING,
        *HTTP_STREAMING,
        *SSE,
        *WEBSOCKET,
        *RELATIVES,
        *CONTROL_ROOM,
        *SIDE_BY_SIDE,
        *WHERE_THE_SERVER_LIVES,
        *LATER_HTTP,
    ]
)
CLAIMS: dict[str, Claim] = DECLARED
