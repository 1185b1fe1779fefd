"""What the founding notes claim and no notebook puts to the test yet: a row of the book, with the reason."""

from __future__ import annotations

from labkit.claims.claim import Claim

CLAIMS = (
    Claim(
        "S7",
        source="founding notes",
        sentence="그 이후버전에서도 가능할것이라 생각함 (it is thought to be possible in the later versions as well) "
        "[streaming, in the HTTP versions after 1.1]",
        unit="",
        notebook="none yet",
        not_run="this kit speaks HTTP/1.0 and HTTP/1.1: nothing here serves HTTP/2 or HTTP/3",
    ),
)
