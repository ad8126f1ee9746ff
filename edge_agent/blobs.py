"""What streams name by its hash and the outbox keeps beside them: schemas, guards and priors."""

from __future__ import annotations

import zstandard

from codec.errors import SchemaError
from codec.guards import GuardSet
from codec.priors import prior_hash
from codec.schema import SCHEMA_BYTES_MAX, Schema
from edge_agent.rows import BlobKind


def pack_schema(schema: Schema) -> bytes:
    """As it goes over the wire and stands in the outbox."""
    return zstandard.ZstdCompressor().compress(schema.to_bytes())


def unpack_schema(packed: bytes) -> Schema:
    """Raises SchemaError."""
    try:
        if not 0 <= zstandard.frame_content_size(packed) <= SCHEMA_BYTES_MAX:
            raise SchemaError("a packed schema of an impossible size")
        return Schema.from_bytes(zstandard.ZstdDecompressor().decompress(packed))
    except zstandard.ZstdError as error:
        raise SchemaError(f"not a packed schema: {error}") from None


def is_sound(kind: BlobKind, name: bytes, content: object) -> bool:
    """Whether it is what its name says. Damage in a file can make it of any type."""
    if not isinstance(content, bytes):
        return False
    try:
        match kind:
            case BlobKind.SCHEMA:
                return unpack_schema(content).hash == name
            case BlobKind.GUARDS:
                return GuardSet.from_bytes(content).hash == name
            case BlobKind.PRIOR:
                return prior_hash(content) == name
    except SchemaError:
        return False
