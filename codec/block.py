"""A block's header: a few bytes, since at 10 s blocks every byte is 0.36 kB an hour.

byte 0      low nibble: version; high nibble: flags KEYFRAME, SKIP, NAMED
byte 1      digest
varint      number of records
keyframe:   varint   first tick, from the stream's origin
            varint   its ticks without a record so far (cumulative record count = ticks - these), zigzag
            varint   clock offset minus the stream's, microseconds, zigzag, shifted left by one; bit 0: synchronised
            u32 LE   digest of the group before
            NAMED:   guard set's hash, prior's hash, a length byte before each; without: the stream's own
otherwise:  SKIP:    varint   ticks without a record since the last block; without: 0
"""

from __future__ import annotations

from dataclasses import dataclass

from codec.errors import DamagedBlock, UnknownBlock
from codec.schema import HASH_BYTES

BLOCK_VERSION = 1
KEYFRAME, SKIP, NAMED, SAME = 0x10, 0x20, 0x40, 0x80
AS_BEFORE = 0  # a header's record count: as many as in the block before
_VARINT_BYTES_MAX = 9
_US = 1000


@dataclass(frozen=True, slots=True)
class Keyframe:
    """What a keyframe tells besides its records."""

    clock_offset_ns: int
    clock_synchronised: bool
    guards_hash: bytes
    prior_hash: bytes
    first_record: int  # records of the stream before this block
    previous_digest: int  # of the group before; 0 in a stream's first block
    named: bool = False
    facts_offset_ns: int = 0


@dataclass(frozen=True, slots=True)
class Header:
    """`start`: ticks from the stream's origin (keyframe) or from the end of the last block.

    `record_count` may be AS_BEFORE where there is a block before, so not in a keyframe.
    """

    start: int
    record_count: int
    keyframe: Keyframe | None


def render_header(header: Header, digest: int) -> bytes:
    """The bytes before the body."""
    keyframe = header.keyframe
    if keyframe is None:
        same = header.record_count == AS_BEFORE
        flags = (SKIP if header.start else 0) | (SAME if same else 0)
        count = b"" if same else _varint(header.record_count)
        skipped = _varint(header.start) if header.start else b""
        return bytes((BLOCK_VERSION | flags, digest)) + count + skipped
    flags = KEYFRAME | (NAMED if keyframe.named else 0)
    offset = round((keyframe.clock_offset_ns - keyframe.facts_offset_ns) / _US)
    parts = [
        bytes((BLOCK_VERSION | flags, digest)),
        _varint(header.record_count),
        _varint(header.start),
        _varint(_zigzag(header.start - keyframe.first_record)),
        _varint(_zigzag(offset) << 1 | keyframe.clock_synchronised),
        keyframe.previous_digest.to_bytes(4, "little"),
    ]
    if keyframe.named:
        parts += [bytes((len(name),)) + name for name in (keyframe.guards_hash, keyframe.prior_hash)]
    return b"".join(parts)


def with_digest(header: bytes, digest: int) -> bytes:
    """The same header with another digest byte."""
    return header[:1] + bytes((digest,)) + header[2:]


def parse_header(
    content: bytes, facts_offset_ns: int, guards_hash: bytes, prior_hash: bytes
) -> tuple[Header, int, int]:
    """(header, digest byte, where the body begins). What a keyframe does not name is the stream's own.

    Raises DamagedBlock, or UnknownBlock for a version that this software does not read.
    """
    if len(content) < 2:
        raise DamagedBlock(f"a block of {len(content)} bytes")
    version, flags = content[0] & 0x0F, content[0] & 0xF0
    if version != BLOCK_VERSION:
        raise UnknownBlock(
            f"a block of version {version}; this software reads {BLOCK_VERSION}", ("version", version)
        )
    if flags & NAMED and not flags & KEYFRAME:
        raise DamagedBlock("a block that is no keyframe and names guards")
    if flags & KEYFRAME and flags & (SAME | SKIP):
        raise DamagedBlock("a keyframe that refers to the block before it")
    count, at = (AS_BEFORE, 2) if flags & SAME else _read_varint(content, 2)
    if count == AS_BEFORE and not flags & SAME:
        raise DamagedBlock("a block without records")
    if not flags & KEYFRAME:
        start, at = _read_varint(content, at) if flags & SKIP else (0, at)
        return Header(start, count, None), content[1], at
    start, at = _read_varint(content, at)
    missed, at = _read_varint(content, at)
    clock, at = _read_varint(content, at)
    digest = int.from_bytes(content[at : at + 4], "little")
    at += 4
    if flags & NAMED:
        guards_hash, at = _read_hash(content, at)
        prior_hash, at = _read_hash(content, at)
    if at > len(content):
        raise DamagedBlock("a block that ends in its header")
    clock_offset_ns = facts_offset_ns + _unzigzag(clock >> 1) * _US
    first_record = start - _unzigzag(missed)
    if first_record < 0 or abs(clock_offset_ns) >= 1 << 63:
        raise DamagedBlock("a keyframe of an impossible record count or clock")
    keyframe = Keyframe(
        clock_offset_ns=clock_offset_ns,
        clock_synchronised=bool(clock & 1),
        guards_hash=guards_hash,
        prior_hash=prior_hash,
        first_record=first_record,
        previous_digest=digest,
        named=bool(flags & NAMED),
        facts_offset_ns=facts_offset_ns,
    )
    return Header(start, count, keyframe), content[1], at


def _varint(number: int) -> bytes:
    assert number >= 0, number
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    number = 0
    for k in range(_VARINT_BYTES_MAX):
        if at + k >= len(content):
            raise DamagedBlock("a block that ends in its header")
        byte = content[at + k]
        number |= (byte & 0x7F) << (7 * k)
        if byte < 0x80:
            if number >= 1 << 62:
                break
            return number, at + k + 1
    raise DamagedBlock("a number in a block's header that is too large")


def _read_hash(content: bytes, at: int) -> tuple[bytes, int]:
    size = content[at] if at < len(content) else -1
    if size not in {0, HASH_BYTES}:
        raise DamagedBlock("a hash of impossible length in a block's header")
    return content[at + 1 : at + 1 + size], at + 1 + size


def _zigzag(number: int) -> int:
    return number << 1 if number >= 0 else (-number << 1) - 1


def _unzigzag(number: int) -> int:
    return number >> 1 if number & 1 == 0 else -((number + 1) >> 1)
