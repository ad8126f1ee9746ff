"""`collector priors`: trains what keyframes start from on what vehicles of a schema have sent, and offers it to them.

Rules
- It is trained on the older part of the newest drives and measured on the newer one, which it never saw.
- Measured is what the stored records take when they are coded again, block by block as they came: with the built-in prior, with
  the one offered now, and with the new one.
- What saves nothing there, or takes longer than PAYS_WITHIN_H to save what it costs to send, is not offered.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from codec.errors import CodecError
from codec.priors import Prior, built_in
from codec.stream import StreamEncoder
from codec.stream_decoder import StreamDecoder
from codec.training import Learnt, learn
from collector import times
from collector.query import PRINTERS
from collector.reading.signals import QueryError
from collector.store import StoreBusy, open_store
from collector.store.ledger import StoreLedger
from collector.words import counted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from codec.records import Records
    from codec.schema import Schema
    from collector.store import Store, StoredGroup

VALUES_MAX = 20_000_000  # bounds time and memory for wide schemas: about a minute, 100 MB
GROUPS_MIN = 12  # six minutes: fewer show no habits
TRAINED_SHARE = 2 / 3
PAYS_WITHIN_H = 24.0  # of driving
SEND_BYTES = 60  # around a prior on the wire
RETRY_S = 0.2
LIST_COLUMNS = (
    "schema", "signals", "prior", "bytes", "saved_percent", "saved_bytes_per_hour", "trained_on_hours", "trained_at",
    "vehicles",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trained:
    """A prior, and what it does on the groups that it was not trained on."""

    prior: Prior
    trained_hours: float
    measured_hours: float
    gain: float  # share of the bytes with the built-in prior
    gain_now: float  # share of the bytes with what is offered now
    saved_per_hour: float  # bytes, of those that are sent now

    @property
    def cost_bytes(self) -> int:
        return len(self.prior.content) + SEND_BYTES

    @property
    def pays_after_hours(self) -> float:
        """Of driving."""
        return self.cost_bytes / self.saved_per_hour if self.saved_per_hour > 0 else float("inf")


def run_train(options: argparse.Namespace) -> None:
    """Train, and say what came of it. Raises QueryError and StoreError."""
    store = open_store(options.store)
    if options.hours <= 0:
        raise QueryError("--hours must be more than 0")
    vin = None if options.vin is None else store.vehicle(options.vin).vin
    for schema in _schemas(store, options.schema, vin):
        records_max = min(options.hours * 3600 * schema.rate_hz, VALUES_MAX / len(schema.signals))
        groups = store.newest_groups(schema.hash, int(records_max), vin)
        print(f"schema {schema.hash.hex()}: {counted(len(schema.signals), 'signal')} at {schema.rate_hz} Hz")
        if len(groups) < GROUPS_MIN:
            print(f"  {len(groups)} keyframe groups are stored: too few to learn from, it takes {GROUPS_MIN}")
            continue
        now = store.offered_prior(schema)
        trained = train(schema, groups, now)
        for line in judged(trained, now):
            print(f"  {line}")
        if is_worth_it(trained, now):
            offer(options.store, schema, trained)


def run_list(options: argparse.Namespace) -> None:
    """Print what is offered. Raises StoreError."""
    PRINTERS[options.format](LIST_COLUMNS, iter(open_store(options.store).offered_priors()))


def _schemas(store: Store, name: str | None, vin: str | None) -> list[Schema]:
    """Those that were asked for: by the beginning of their name, or of the vehicle's newest stream; else all."""
    streams = store.streams(vin)
    if vin is not None:
        newest = max(streams, key=lambda stream: stream.began_ns, default=None)
        return [] if newest is None else [newest.schema]
    known = {stream.schema.hash.hex(): stream.schema for stream in streams}
    found = [schema for key, schema in known.items() if key.startswith((name or "").lower())]
    if not known:
        raise QueryError(f"{store.address}: no stream is stored yet, so there is nothing to learn from")
    if not found or (name and len(found) > 1):
        many = "several schemas are" if found else "no schema is"
        raise QueryError(f"{many} named {name}...; stored are {', '.join(known)}")
    return found


def train(schema: Schema, groups: Sequence[StoredGroup], now: Prior) -> Trained:
    """Learn from the first of these groups, measure on the rest. `now`: what is offered, or the built-in prior."""
    share = TRAINED_SHARE * sum(group.records for group in groups)
    older: list[StoredGroup] = []
    while share > 0 and len(older) < len(groups) - 1:
        older.append(groups[len(older)])
        share -= older[-1].records
    newer = groups[len(older) :]
    learnt = Learnt(len(schema.signals))
    for group in older:
        learn(learnt, StreamDecoder(schema, group.facts, find_prior=group.find_prior), group.blocks)
    prior = learnt.worthwhile()
    sizes = {built_in().hash: 0, now.hash: 0, prior.hash: 0}
    for group in newer:
        blocks = list(_decoded(schema, group))
        for one in {one.hash: one for one in (built_in(), now, prior)}.values():
            sizes[one.hash] += coded_bytes(schema, group, blocks, one)
    hour = 3600 * schema.rate_hz
    hours = sum(group.records for group in newer) / hour
    gain_now = 1 - sizes[prior.hash] / max(sizes[now.hash], 1)
    stored = sum(len(content) for group in newer for _, content in group.blocks)
    return Trained(
        prior,
        sum(group.records for group in older) / hour,
        hours,
        1 - sizes[prior.hash] / max(sizes[built_in().hash], 1),
        gain_now,
        gain_now * stored / hours,
    )


def _decoded(schema: Schema, group: StoredGroup) -> Iterator[Records]:
    decoder = StreamDecoder(schema, group.facts, find_prior=group.find_prior)
    for seq, content in group.blocks:
        try:
            yield decoder.decode(seq, content).records
        except CodecError:
            return


def coded_bytes(schema: Schema, group: StoredGroup, blocks: Sequence[Records], prior: Prior) -> int:
    """What a keyframe group takes that starts from this prior."""
    # Named by the stream, as they will be, so that no keyframe has to.
    facts = replace(
        group.facts, guards_hash=b"", prior_hash=b"" if prior.hash == built_in().hash else prior.hash
    )
    encoder = StreamEncoder(schema, facts, prior=prior)
    return sum(len(encoder.encode(records).content) for records in blocks)


def is_worth_it(trained: Trained, now: Prior) -> bool:
    return trained.prior.hash != now.hash and trained.pays_after_hours <= PAYS_WITHIN_H


def judged(trained: Trained, now: Prior) -> Iterator[str]:
    """What to tell whoever asked for it."""
    yield (
        f"trained on {trained.trained_hours:.2f} h, measured on the {trained.measured_hours:.2f} h after it: "
        f"{trained.gain:.1%} fewer bytes than with the built-in prior"
    )
    if trained.prior.hash == now.hash:
        yield f"it is what is offered already: {now.hash.hex()}"
        return
    if now.hash != built_in().hash:
        yield f"than with the prior that is offered now: {trained.gain_now:.1%} fewer"
    if trained.saved_per_hour <= 0:
        yield "not offered: it saves nothing"
        return
    yield (
        f"{trained.cost_bytes:,} bytes to send, once to each vehicle; saves about {trained.saved_per_hour:,.0f} bytes an hour: "
        f"paid for after {trained.pays_after_hours:.1f} h of driving"
    )
    if is_worth_it(trained, now):
        yield f"offered to every vehicle when it connects next: {trained.prior.hash.hex()}"
    else:
        yield f"not offered: that takes longer than {PAYS_WITHIN_H:g} h"


def offer(where: Path | str, schema: Schema, trained: Trained) -> None:
    """Store it, beside a collector that may be running. Raises StoreError."""
    row = {
        "schema_hash": schema.hash,
        "prior_hash": trained.prior.hash,
        "trained_at": times.to_text(time.time_ns()),
        "hours": trained.trained_hours,
        "gain": trained.gain,
        "saved_per_hour": trained.saved_per_hour,
    }
    ledger = StoreLedger(where)
    try:
        while True:
            try:
                with ledger.transaction() as transaction:
                    transaction.offer_prior(row, trained.prior.content)
                return
            except StoreBusy:  # a collector that runs holds it now and then
                time.sleep(RETRY_S)
    finally:
        ledger.close()
