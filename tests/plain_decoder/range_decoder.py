"""Section 5 of docs/wire-format.md."""

from __future__ import annotations

from tests.plain_decoder.document import FAST, SLOW
from tests.plain_decoder.words import Damaged


class RangeDecoder:
    """Reads a body. `contexts`: [fast, slow, uses] of the column that is being read."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.at = 0
        self.low = 0
        self.range = 0xFFFFFFFF
        self.contexts: list[list[int]] = []
        for _ in range(4):
            self._next_byte()

    def _next_byte(self) -> None:
        byte = self.body[self.at] if self.at < len(self.body) else 0
        self.at += 1
        self.low = (self.low << 8 | byte) & 0xFFFFFFFF

    def _normalise(self) -> None:
        while self.range < 1 << 24:
            self.range <<= 8
            self._next_byte()

    def bit(self, index: int) -> int:
        context = self.contexts[index]
        fast, slow, uses = context
        step = max(1, (uses + 2).bit_length() - 1)
        fast_step, slow_step = min(step, FAST), min(step, SLOW)
        context[2] = min(uses + 1, 255)
        bound = (self.range >> 16) * ((fast + slow) >> 1)
        if self.low < bound:
            bit = 0
            self.range = bound
            context[0] = min(fast + ((65536 - fast) >> fast_step), 65504)
            context[1] = min(slow + ((65536 - slow) >> slow_step), 65504)
        else:
            bit = 1
            self.low -= bound
            self.range -= bound
            context[0] = max(fast - (fast >> fast_step), 32)
            context[1] = max(slow - (slow >> slow_step), 32)
        self._normalise()
        return bit

    def raw(self, bits: int) -> int:
        value = 0
        for _ in range(bits):
            self.range >>= 1
            bit = int(self.low >= self.range)
            if bit:
                self.low -= self.range
            value = value << 1 | bit
            self._normalise()
        return value

    def int(self, base: int) -> int:
        if self.bit(base) == 0:
            return 0
        negative = self.bit(base + 1)
        magnitude = self._magnitude(base)
        return -magnitude if negative else magnitude

    def count(self, base: int) -> int:
        return self._magnitude(base) if self.bit(base) else 0

    def _magnitude(self, base: int) -> int:
        e = 0
        while self.bit(base + 2 + min(e, 21)):
            e += 1
            if e == 62:
                raise Damaged("a number of 62 bits")
        v = 1
        if e > 0:
            v = 2 * v + self.bit(base + 23 + min(e, 12))
        if e > 1:
            v = 2 * v + self.bit(base + 36 + 2 * (min(e, 7) - 2) + v % 2)
        if e > 2:
            v = 2 * v + self.bit(base + 48 + 4 * (min(e, 6) - 3) + v % 4)
        if e > 3:
            v = v << (e - 3) | self.raw(e - 3)
        return v

    def tree(self, base: int, bits: int) -> int:
        node = 1
        for _ in range(bits):
            node = 2 * node + self.bit(base + node)
        return node - (1 << bits)
