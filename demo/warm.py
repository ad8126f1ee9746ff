"""Compiles the kernels once, in one process, before seven need them at the same moment. Later it costs next to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codec.guards import Guard, GuardSet
from codec.stream import StreamEncoder, StreamFacts
from codec.stream_decoder import StreamDecoder
from collector.app import warm_up as warm_up_collector
from decoder import dbc
from decoder.defaults import default_choices
from decoder.frames import Frames
from decoder.plan import build_plan
from decoder.sampler import Sampler
from decoder.signals import Bus

if TYPE_CHECKING:
    from pathlib import Path

RECORDS = 100
FRAME_EVERY_NS = 5_000_000
_EXTENDED = 1 << 31


def warm_up(dbc_file: Path) -> int:
    """Made-up frames of every message through sampler, encoder and decoder, and what the collector does with blocks.

    Returns how many records came through.
    """
    warm_up_collector()
    buses = [Bus("warm", (dbc.load(dbc_file),))]
    plan = build_plan(buses, default_choices(buses))
    messages = buses[0].dbcs[0].messages
    rows = []
    for number in range(RECORDS * 20_000_000 // FRAME_EVERY_NS):
        message = messages[number % len(messages)]
        key = message.frame_id | (_EXTENDED if message.is_extended_frame else 0)
        rows.append((number * FRAME_EVERY_NS, 0, key, bytes([number & 0x3F] * message.length)))
    sampler = Sampler(plan)
    sampler.feed(Frames.from_rows(rows))
    runs = sampler.advance(None)
    guards = GuardSet((Guard(plan.schema.names[0], ">", 10.0),))
    facts = StreamFacts(bytes(16), 0, runs[0].first_tick, guards_hash=guards.hash)
    encoder = StreamEncoder(plan.schema, facts, guards=guards)
    decoder = StreamDecoder(plan.schema, facts)
    blocks = [encoder.encode(run) for run in runs]
    return sum(len(decoder.decode(block.seq, block.content).records) for block in blocks)
