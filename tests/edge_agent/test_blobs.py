"""What is kept by its hash is what its hash says, or damaged."""

from __future__ import annotations

import pytest
import zstandard

from codec.errors import SchemaError
from edge_agent.blobs import is_sound, pack_schema, unpack_schema
from edge_agent.rows import BlobKind
from tests.edge_agent.samples import HOT, SCHEMA, TRAINED

KEPT = {
    BlobKind.SCHEMA: (SCHEMA.hash, pack_schema(SCHEMA)),
    BlobKind.GUARDS: (HOT.hash, HOT.to_bytes()),
    BlobKind.PRIOR: (TRAINED.hash, TRAINED.content),
}


@pytest.mark.parametrize("kind", BlobKind)
def test_only_what_its_name_says_is_sound(kind):
    name, content = KEPT[kind]
    assert is_sound(kind, name, content)
    assert not is_sound(kind, bytes(len(name)), content)
    assert not is_sound(kind, name, content[:-1])
    assert not is_sound(kind, name, b"")
    for mistyped in (None, content.decode(errors="replace"), 5):
        assert not is_sound(kind, name, mistyped)


@pytest.mark.parametrize("kind", BlobKind)
def test_no_flipped_bit_passes_as_something_else(kind):
    name, content = KEPT[kind]
    for bit in range(0, len(content) * 8, 1 + len(content) // 1000):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        if is_sound(kind, name, bytes(flipped)):
            assert kind is BlobKind.SCHEMA  # packed: what a frame's header says may not matter
            assert unpack_schema(bytes(flipped)) == SCHEMA


def test_a_schema_that_does_not_say_its_size_is_none():
    """The collector takes no other."""
    sizeless = zstandard.ZstdCompressor(write_content_size=False).compress(SCHEMA.to_bytes())
    with pytest.raises(SchemaError, match="impossible size"):
        unpack_schema(sizeless)
