"""Files of compressed blocks: written by appending, read as a stream, in little memory.

Belongs here: the framing. A block is its compressed and its plain length (4 bytes each, little endian), and zlib data
of some items laid end to end. Does not belong here: what items are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from isal import isal_zlib

_HEADER = struct.Struct("<II")
_LEVEL = 1  # on JSON about 6 to 1 at some hundreds of MB/s: higher levels save a tenth and take twice as long


class BrokenBlockError(ValueError):
    """A block is cut off, or its bytes were changed."""


def pack(data: bytes | bytearray) -> bytes:
    """A block, header included."""
    packed: bytes = isal_zlib.compress(data, _LEVEL)
    return _HEADER.pack(len(packed), len(data)) + packed


def blocks(path: Path) -> Iterator[bytes]:
    """The plain bytes of a file's blocks, in order. The file is open only while a block is read.

    Raises:
        BrokenBlockError: if it isn't whole.
        OSError: if it can't be read.
    """
    position = 0
    while True:
        with path.open("rb") as file:
            file.seek(position)
            header = file.read(_HEADER.size)
            if not header:
                return
            if len(header) < _HEADER.size:
                raise BrokenBlockError(f"{path} is cut off")
            packed, plain = _HEADER.unpack(header)
            data = file.read(packed)
        try:
            block: bytes = isal_zlib.decompress(data)
        except isal_zlib.error as error:  # type: ignore[misc] # declared as an instance, which it isn't
            raise BrokenBlockError(f"{path} is broken: {error}") from error
        if len(data) != packed or len(block) != plain:
            raise BrokenBlockError(f"{path} is cut off")
        position += _HEADER.size + packed
        yield block
