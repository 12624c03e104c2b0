"""Reading gzip files of any number of members, and lines of any length, in bounded memory.

Belongs here: decompressing and cutting into lines. Does not belong here: what the lines mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isal import isal_zlib

from exporter.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAGIC = b"\x1f\x8b"
_GZIP = 31  # the window size that tells zlib to expect a gzip header and to check the checksum
_PIECE = 1 << 18
_ERROR: type[Exception] = isal_zlib.IsalError  # type: ignore[assignment]  # its stub has no base class


class TruncatedError(SourceError):
    """A gzip stream ends or breaks before its end. Everything before that was given."""


def decompress(data: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Decompress a gzip stream.

    Args:
        data: the compressed bytes, in pieces.
        name: what to call it in errors.

    Yields:
        The decompressed bytes, in pieces of at most 256 KiB, however well they were compressed.

    Raises:
        TruncatedError: if it ends early, a checksum is wrong, or something else than zeros follows its last member.
    """
    decoder = None
    for piece in data:
        rest = piece
        while rest:
            if decoder is None:
                rest = rest.lstrip(b"\0")  # padding, which gzip allows after members
                if not rest:
                    break
                decoder = isal_zlib.decompressobj(_GZIP)
            full = True
            while full and not decoder.eof:  # a full piece may leave more in the decoder, also without more input
                try:
                    out = decoder.decompress(rest, _PIECE)
                except _ERROR as error:
                    raise TruncatedError(f"{name}: its gzip data is damaged ({error}): get it again") from None
                rest, full = decoder.unconsumed_tail, len(out) == _PIECE
                if out:
                    yield out
            if decoder.eof:
                rest, decoder = decoder.unused_data, None
    if decoder is not None:
        raise TruncatedError(f"{name}: its gzip data is cut off: get it again")


def lines(data: Iterable[bytes], limit: int) -> Iterator[bytes | None]:
    """Cut bytes into lines, without their line feeds. A last line needs none.

    Args:
        data: the bytes, in pieces.
        limit: the bytes that a line may have, no fewer than those of a piece; the memory needed is about twice that.

    Yields:
        Each line; None for one that is longer.
    """
    held, too_long = bytearray(), False
    for piece in data:
        head, feed, rest = piece.partition(b"\n")
        if not feed:  # in the middle of a long line
            if not too_long:
                held += head
                if len(held) > limit:
                    held, too_long = bytearray(), True
            continue
        if too_long or len(held) + len(head) > limit:
            yield None
        elif held:
            held += head
            line, held = bytes(held), bytearray()
            yield line
        else:
            yield head
        held, too_long = bytearray(), False
        *whole, last = rest.split(b"\n")
        yield from whole
        held += last
    if too_long:
        yield None
    elif held:
        yield bytes(held)
