"""What a fleet of some vehicles sends, by a seed: every kind of signal, rule, damage and item, in any order that conversations allow."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from codec.records import Availability, Records
from codec.schema import Kind, Schema, Signal
from codec.stream import StreamEncoder
from collector.items import BatchItem, Beat, Farewell, Greeting
from collector.rules import load_rules
from tests.collector.vehicle import Vehicle, spoiled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from collector.items import Item

SIGNALS = (
    Signal("Temp", unit="degC", factor=0.1, threshold=0.5),
    Signal("Speed", unit="km/h", factor=0.05, threshold=2.0),
    Signal("Gear", labels=((0, "P"), (1, "D"))),
    Signal("PackVoltage", unit="V", factor=0.1, threshold=0.2),
    Signal("PackCurrent", unit="A", factor=0.1, threshold=0.2),
    Signal("Heading", unit="deg", factor=0.1, circular=360.0, threshold=1.0),
)
OTHERS = (
    Signal("Double", kind=Kind.FLOAT64, threshold=0.5),
    Signal("Single", kind=Kind.FLOAT32),
    Signal("Wide", kind=Kind.WIDE_UNSIGNED),
)
SCHEMAS = (Schema(10, SIGNALS + OTHERS), Schema(10, SIGNALS), Schema(10, OTHERS), Schema(50, SIGNALS))
LEVELS = {"Temp": 400, "Speed": 1000, "PackVoltage": 3500, "PackCurrent": 100, "Heading": 1800}
DOUBLES = (0.5, 2.0, 3.5, -0.0, float("nan"), float("inf"), 1e308)
RULES = load_rules(
    """
[tags]
odd = ["asset:1"]
"""
    + "".join(
        f'[[rule]]\ncode = "{code}"\nwhen = "{when}"\n{more}\nseverity = "INFO"\ndescription = "x"\n'
        for code, when, more in (
            ("HOT", "Temp > 45", 'clear = "Temp < 43"'),
            ("LONG", "Speed > 60", "for_s = 1.5"),
            ("RATE", "rate(Temp, 2s) > 5", ""),
            ("MEAN", "mean(Speed, 3s) > 55 and Gear == 1", ""),
            ("MISSING", "missing(Temp)", "for_s = 0.3"),
            ("STALE", "stale(Speed, 1s)", ""),
            ("FLOAT", "Double > 3 or Single < -2", 'clear = "Double < 1"'),
            ("NOT", "not Gear == 1", ""),
            ("WIDE", "Wide > 100", ""),
        )
    )
    + """
[[rule.override]]
model = "A"
when = "Wide > 200"
[[rule.override]]
tag = "odd"
enabled = false
"""
)


class Car(Vehicle):
    """One whose records are random."""

    def __init__(self, name: str, outbox: int, random: Random) -> None:
        super().__init__(name, outbox, RULES.guards() if random.random() < 0.7 else None)
        self.random = random
        self.signals = random.choice(SCHEMAS)
        self.model = random.choice(["A", "B", ""])
        self.sent: list[BatchItem] = []

    @property
    def greeting(self) -> Greeting:
        return replace(super().greeting, model=self.model)

    def records(self, count: int) -> Records:
        signals = self.signals.signals
        counts = np.stack([self._column(signal, count) for signal in signals], axis=1)
        states = np.full(counts.shape, Availability.AVAILABLE, np.uint8)
        for column in range(len(signals)):
            if self.random.random() < 0.25:
                start = self.random.randrange(count)
                states[start : self.random.randint(start, count), column] = Availability.NOT_AVAILABLE
        return Records(self.tick, counts, states)

    def _column(self, signal: Signal, count: int) -> np.ndarray:
        values = self.random.choices(DOUBLES, k=count)
        match signal.kind:
            case Kind.FLOAT64:
                return np.array(values).view(np.int64)
            case Kind.FLOAT32:
                return (
                    np.clip(np.array(values), -1e38, 1e38).astype(np.float32).view(np.uint32).astype(np.int64)
                )
            case Kind.WIDE_UNSIGNED:
                return np.array(self.random.choices((0, 150, 250, -1, -(1 << 63)), k=count), np.int64)
        level = LEVELS.get(signal.name, 1)
        walk = np.cumsum([self.random.uniform(-1, 1) for _ in range(count)])
        column = level + np.round(walk * level / self.random.choice([10, 60, 300])).astype(np.int64)
        return column % signal.turn_counts if signal.circular else column

    def block(self, *, keyframe: bool = False) -> BatchItem:
        count = self.random.choice([1, 7, 10, 10, 10, 25, 60])
        records = self.records(count)
        self.tick += count
        assert self._encoder is not None
        block = self._encoder.encode(records, keyframe=keyframe)
        self.sent.append(BatchItem(self.key, self.stream_no, block.seq, late=False, content=block.content))
        return self.sent[-1]

    def again(self) -> list[BatchItem]:
        return [item for item in self.sent if item.stream_no == self.stream_no][-6:]

    def live(self) -> Beat:
        assert self._encoder is not None
        record, facts = self.records(1), self._encoder.facts
        content = StreamEncoder(self.signals, facts, guards=self.guards).encode(record).content
        states = bytes(-(-len(self.guards.guards) // 4))
        tick = record.first_tick - facts.origin_tick
        return Beat(
            self.key, self.stream_no, tick, content, states, {}, guards_hash=self.guards.hash, guard_lasted=states
        )  # fmt: skip

    def items(self, count: int) -> Iterator[Item]:
        yield from (self.greeting, self.schema, self.run())
        for _ in range(count):
            yield from self._said()

    def _said(self) -> list[Item]:
        assert self._encoder is not None
        match self.random.choice("nnnnnnkkslagwqpxcrGFB"):
            case "k":
                return [self.block(keyframe=True)]
            case "s":
                return [spoiled(self.block())]
            case "l":
                return [replace(self.block(), late=True)]
            case "a":  # ahead
                first, then = self.block(), self.block()
                return [then, first, then]
            case "g":
                lost = self.block()
                gap = self.gap(lost.seq, lost.seq, self._encoder.record_count)
                return [gap, self.block(keyframe=True)]
            case "w":  # a wrong bit: seen at once, or by the group's digest
                block = self.block()
                content = bytearray(block.content)
                content[self.random.randrange(len(content))] ^= 1 << self.random.randrange(8)
                return [replace(block, content=bytes(content)), *self.again(), self.block(keyframe=True)]
            case "q":
                bad = spoiled(self.block())
                return [bad, bad, self.block(), *self.again()[:-2], bad, self.block(keyframe=True)]
            case "p":
                return self.random.sample(self.sent, min(1, len(self.sent)))
            case "x":
                return [*self.again(), *self.again()]
            case "c":  # cut
                block = self.block()
                return [replace(block, content=block.content[: len(block.content) // 2 + 1]), block]
            case "r":
                self.signals = self.random.choice((*SCHEMAS, *[self.signals] * 4))
                return [self.schema, self.run()]
            case "G":
                return [self.greeting]
            case "F":
                return [Farewell(self.key, self.random.choice(["parked", "offline"]))]
            case "B":
                return [self.live()]
            case _:
                return [self.block()]


def fleet(random: Random) -> list[Item]:
    """Of some vehicles, the first of which may have another outbox, or one that has its stream too."""
    cars = [Car(f"asset:{number}", number + 1, random) for number in range(random.randint(2, 4))]
    if random.random() < 0.6:
        for car in cars:
            car.signals = cars[0].signals
    said = [list(car.items(random.randint(3, 10))) for car in cars]
    if random.random() < 0.5:
        other = Car(cars[0].key.vehicle, 50, random)
        own = list(other.items(5))
        copied = [replace(item, key=other.key) for item in said[0] if not isinstance(item, Greeting | Beat)]
        greeting = replace(other.greeting, forked_from=cars[0].key.outbox_id)
        said.append([greeting, *copied] if random.random() < 0.5 else own)
    order = [number for number, own in enumerate(said) for _ in own]
    random.shuffle(order)
    waiting = [iter(own) for own in said]
    return [next(waiting[number]) for number in order]
