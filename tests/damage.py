"""Files as somebody damaged them: bytes changed, cut out, doubled, and what no parser expects put in."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LOG_TOKENS = (
    b"nan", b"inf", b"1e400", b"-1", b"9" * 30, b"9" * 5000, b"\0", b"\xff" * 8, b"FFFFFFFFFF", b"#", b"(", b"\n", b",", b"date ",
    b";$STARTTIME=1e400\n", b" Rx d 64 ", b"\x7f\xff\xff\xff",
)  # fmt: skip
TOML_TOKENS = (
    b"nan", b"inf", b"1e400", b"-1", b"9" * 400, b"9" * 5000, b'"\\u0000"', b"\0", b"\xff", b"[" * 2000, b"{a=" * 800, b"]", b"\n", b"=",
    b'"', b"true", b"[]", b"{}", b'""', b"1979-05-27", b"(" * 300, b"not " * 400, b'[""]', b'["\\u0000"]',
)  # fmt: skip


def damaged(content: bytes, seed: int, tokens: Sequence[bytes]) -> bytes:
    rng = random.Random(seed)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at, kind = rng.randrange(len(content) + 1), rng.randrange(6)
        token = rng.choice(tokens)
        if kind == 0:
            content = content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]
        elif kind == 1:
            content = content[:at] + token + content[at + rng.choice((0, len(token))) :]
        elif kind == 2:
            content = content[:at] + content[at + rng.randrange(40) :]
        elif kind == 3:
            content = content[:at]
        elif kind == 4:
            start = rng.randrange(len(content) + 1)
            content = content[:at] + content[start : start + rng.randrange(200)] + content[at:]
        else:  # another value for a key
            equals, end = content.find(b"=", at), content.find(b"\n", content.find(b"=", at))
            if 0 <= equals < end:
                content = content[: equals + 1] + b" " + token + content[end:]
    return content
