"""A run's file: one Parquet table of its deliveries, which any Parquet reader can read, and everything else of the run.

How the run was made is JSON in the table's metadata. The bulk, which is the ledger with its bytes, lies compressed
between the table's pages and its footer, where readers of Parquet look for nothing that the footer does not point to:
a reader has a limit for its metadata, and the bulk has none. A digest of the whole file stands in the metadata.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from labkit.client.ledger import Ledger
from labkit.errors import LabkitError, package
from labkit.files import whole
from labkit.measuring import run_bytes
from labkit.measuring.masking import without_secrets

if TYPE_CHECKING:
    from labkit.measuring.recording import Recording

FORMAT = 3
"""Version of the file format; a reader refuses a newer one."""

_METADATA, _DIGEST = b"labkit", b"labkit.sha256"
_PACKED = ("settings", "failures", "interrupted", "versions")
_UNKNOWN = b"0" * 64
_DIGEST_ENTRY = re.compile(
    re.escape(_DIGEST) + rb"\x18\x40([0-9a-f]{64})"
)  # Thrift's compact protocol: 64 bytes follow
_TAIL = b"PAR1"  # behind the footer's length


def save(run: Recording, path: str | Path, *, with_secrets: bool = False) -> Path:
    """Write everything to one file, whole or not at all.

    Args:
        with_secrets: as they were sent, what is said in ``Authorization``, ``Cookie`` and the like; by default a
            placeholder of the same length stands for it.

    Raises:
        LabkitError: it cannot be written; nothing is left behind.
    """
    pa = package("pyarrow")
    pq = package("pyarrow.parquet")

    path = Path(path)
    table = pa.Table.from_pandas(run.deliveries, preserve_index=False)
    with whole(path) as file:
        # store_schema would put down a second, encoded copy of all metadata
        with pq.ParquetWriter(file, table.schema, store_schema=False) as writer:
            writer.write_table(table)
            start = file.tell()
            with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6, mtime=0) as out:
                run_bytes.write(run, run.ledger if with_secrets else without_secrets(run), out)
            kept = {"format": FORMAT, "bulk": [start, file.tell()], **{name: getattr(run, name) for name in _PACKED}}
            own = {_METADATA: json.dumps(kept).encode(), _DIGEST: _UNKNOWN}
            writer.add_key_value_metadata({**(table.schema.metadata or {}), **own})
        at, _ = _digest_in(file)
        digest = _digest(file, at)
        file.seek(at)
        file.write(digest)
    return path


def read(path: str | Path) -> dict[str, Any]:
    """What the run in a file was made of: the arguments of :class:`labkit.measuring.run.Run`.

    Raises:
        LabkitError: the file cannot be read, is something else, is damaged, or was saved by a newer format.
    """
    if not isinstance(
        path, str | os.PathLike
    ):  # an integer would be taken, and closed, as a descriptor of the kernel's
        raise LabkitError(f"{path!r:.60} is no file's name: expected the path of a saved run")
    try:
        file = open(path, "rb")
    except OSError as error:
        raise LabkitError(f"{path} cannot be read: {error.strerror or error}") from None
    with file, refusing(path):
        is_checked = _is_checked(path, file)
        return _read(path, file, is_checked)


def _read(path: str | Path, file: IO[bytes], is_checked: bool) -> dict[str, Any]:
    pq = package("pyarrow.parquet")

    limit = (1 << 31) - 1  # older formats have the bulk in the metadata, which pyarrow limits
    table = pq.read_table(file, thrift_string_size_limit=limit)
    kept = json.loads((table.schema.metadata or {})[_METADATA])
    if kept["format"] > FORMAT:
        newer = f"{path} was saved by a newer labkit (format {kept['format']}; this one reads {FORMAT})"
        raise LabkitError(f"{newer}: upgrade labkit")
    given = {"deliveries": table.to_pandas(), **{name: kept[name] for name in _PACKED}}
    if "bulk" not in kept:
        return {**given, **_older(kept)}
    if not is_checked:
        raise _damaged(path)
    start, stop = kept["bulk"]
    file.seek(start)
    packed = io.BytesIO(file.read(stop - start))
    with io.BufferedReader(gzip.GzipFile(fileobj=packed), 1 << 20) as stream:
        return {**given, **run_bytes.read(stream)}


@contextmanager
def refusing(path: str | Path) -> Iterator[None]:
    """Say of a file that something else stands in it, or something broken, whatever stumbled over that."""
    try:
        yield
    except (
        OSError,
        EOFError,
        ArithmeticError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        zlib.error,
    ) as error:
        reason = "no labkit metadata" if isinstance(error, KeyError) else type(error).__name__
        raise LabkitError(f"{path} is not a saved run ({reason}); write one with run.save(path)") from None


# The digest


def _is_checked(path: str | Path, file: IO[bytes]) -> bool:
    """Whether the file has a digest, which is then that of its bytes."""
    at, said = _digest_in(file)
    if said and _digest(file, at) != said:
        raise _damaged(path)
    return bool(said)


def _digest_in(file: IO[bytes]) -> tuple[int, bytes]:
    """Where in a Parquet file its digest stands, and the digest; nothing where there is none."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - len(_TAIL) - 4))
    length, tail = int.from_bytes(file.read(4), "little"), file.read()
    start = size - len(_TAIL) - 4 - length
    if tail != _TAIL or start < 0:
        return 0, b""
    file.seek(start)
    found = _DIGEST_ENTRY.search(file.read())
    return (start + found.start(1), found[1]) if found else (0, b"")


def _digest(file: IO[bytes], at: int) -> bytes:
    """Of all bytes, with nothing known where the digest itself stands, which is near the end."""
    digest, left = hashlib.sha256(), at
    file.seek(0)
    while left:
        read = file.read(min(left, 1 << 20))
        digest.update(read)
        left -= len(read)
    digest.update(_UNKNOWN)
    file.seek(at + len(_UNKNOWN))
    digest.update(file.read())
    return digest.hexdigest().encode()


def _damaged(path: str | Path) -> LabkitError:
    return LabkitError(f"{path} is damaged: its bytes are not those that were saved, so nothing of it is read")


# Formats 1 and 2


def _older(kept: dict[str, Any]) -> dict[str, Any]:
    """What stood in the metadata."""
    plain = json.loads(zlib.decompress(base64.b64decode(kept["ledger"])))
    ledger = Ledger(plain["keep_bytes"])
    ledger.connections = [
        run_bytes.unpacked(record, base64.b64decode(record["data"])) for record in plain["connections"]
    ]
    published = {(topic, event_id): value for topic, event_id, value in kept["published"]}
    return {"published": published, "ledger": ledger, "floor_ms": kept["floor_ms"], "missing": kept["missing"]}
