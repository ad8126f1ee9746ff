"""The schemes beside ours."""

from __future__ import annotations

from benchmarks.schemes import dpcm, gorilla, messages, parquet, sparse, swinging_door
from benchmarks.schemes.scheme import Scheme

OTHERS = (
    Scheme("json", messages.encode_json, messages.decode_json, uses_thresholds=False, uses_blocks=False),
    Scheme("json-zstd", messages.encode_json_zstd, messages.decode_json_zstd, uses_thresholds=False),
    Scheme(
        "protobuf",
        messages.encode_protobuf,
        messages.decode_protobuf,
        uses_thresholds=False,
        uses_blocks=False,
        tells_availability=False,
    ),
    Scheme("open-loop", sparse.encode_open_loop, sparse.decode_open_loop, uses_blocks=False),
    Scheme("send-on-delta", sparse.encode_send_on_delta, sparse.decode_send_on_delta, uses_blocks=False),
    Scheme("swinging-door", swinging_door.encode, swinging_door.decode),
    Scheme("dpcm-zstd", dpcm.encode, dpcm.decode),
    Scheme("gorilla", gorilla.encode, gorilla.decode, uses_thresholds=False),
    Scheme(
        "parquet-zstd",
        parquet.encode,
        parquet.decode,
        uses_thresholds=False,
        blocks_max=parquet.BLOCKS_MAX,
    ),
)
