"""The tables, once, for every dialect.

`batches` holds the truth: what a vehicle sent, as it sent it. `telemetry_logs`, `rollups`, `faults`, `anomalies` are made of it for
readers and can be made again. Names that people type (vin, code, detected_at, timestamp, data) are part of the interface; see README.
Ticks and positions order everything, times are labels. What Python sees of times and JSON is text: see `types`.

These are the newest tables; what brings a store here is in migrations/versions (docs/store.md: how to add a table). On PostgreSQL
`telemetry_logs` and `rollups` are partitioned by day, so `timestamp` is part of their keys there.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from collector.store.types import BigId, JsonText, WallTime

SCHEMA_VERSION = 9  # number of the newest revision

metadata = MetaData()

vehicles = Table(
    "vehicles",
    metadata,
    Column("vin", Text, primary_key=True),  # or asset:<name>
    Column("model", Text, nullable=False, default=""),
    Column("firmware_version", Text, nullable=False, default=""),
    Column("agent_version", Text, nullable=False, default=""),
    Column("state", Text, nullable=False),  # online, offline, parked
    Column("first_seen", WallTime, nullable=False),
    Column("last_seen", WallTime, nullable=False),
    Column("heartbeat", JsonText),  # JSON: the latest values and health, provisional while a backlog drains
    Column("health", Text, nullable=False, default="", server_default=""),  # of the last heartbeat, in words
)

# Positions and rule state of an outbox, in one row: they change together, in the transaction that stores a batch.
outboxes = Table(
    "outboxes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("vin", Text, ForeignKey("vehicles.vin"), nullable=False),
    Column("outbox_id", LargeBinary(16), nullable=False),
    Column(
        "revision", BigInteger, nullable=False, default=0
    ),  # two writers of one outbox see each other by it
    Column("stream_no", BigInteger, nullable=False, default=0),  # what is wanted next
    Column("next_seq", BigInteger, nullable=False, default=0),
    Column("stored_stream_no", BigInteger),  # the last batch that is durable
    Column("stored_seq", BigInteger),
    Column("record_count", BigInteger, nullable=False, default=0),
    Column("end_tick", BigInteger),
    Column("group_seq", BigInteger),
    Column("open_gap_seq", BigInteger),
    Column("full_rate_until", BigInteger),  # tick before which every record of the wanted stream is a row
    Column("rule_state", Text, nullable=False, default=""),  # JSON of rules.RuleState; empty: none yet
    Column(
        "battery_state", Text, nullable=False, default="", server_default=""
    ),  # JSON of battery.BatteryState
    Column(
        "diagnosis_state", Text, nullable=False, default="", server_default=""
    ),  # of diagnosis.DiagnosisState
    Column("replaced_by", LargeBinary(16)),
    # Of streams before it no block is left, see `expiry`.
    Column("expired_streams", BigInteger, nullable=False, default=0, server_default="0"),
    Column("received_at", WallTime),
    UniqueConstraint("vin", "outbox_id"),
)

streams = Table(
    "streams",
    metadata,
    Column("outbox", Integer, ForeignKey("outboxes.id"), primary_key=True),
    Column("stream_no", BigInteger, primary_key=True, autoincrement=False),
    Column("stream_id", LargeBinary(16), nullable=False),
    Column("boot_id", LargeBinary(16), nullable=False),
    Column("schema_hash", LargeBinary(16), nullable=False),
    Column("origin_tick", BigInteger, nullable=False),
    # As the description says: blocks are decoded with these.
    Column("facts_offset_ns", BigInteger, nullable=False),
    Column("facts_synchronised", Boolean, nullable=False),
    Column("guards_hash", LargeBinary(16), nullable=False),
    Column("prior_hash", LargeBinary(16), nullable=False),
    # The first synchronised offset of its boot, or the best that is known: what readers' times are made with.
    Column("offset_ns", BigInteger, nullable=False),
    Column("synchronised", Boolean, nullable=False),
    Column("prev_last_seq", BigInteger),
    Column("prev_digest", BigInteger, nullable=False, default=0),
    Column("prev_stream_id", LargeBinary(16), nullable=False, default=b""),
    # Blocks that were deleted for their age: how many records, up to which tick. None: none were.
    Column("expired_records", BigInteger),
    Column("expired_tick", BigInteger),
    Index("streams_stream_id", "stream_id"),
)

batches = Table(
    "batches",
    metadata,
    Column("outbox", Integer, primary_key=True),
    Column("stream_no", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("first_tick", BigInteger, nullable=False),
    Column("record_count", Integer, nullable=False),
    Column("skip", Integer, nullable=False),  # of its first records: another outbox of the vehicle has them
    Column("keyframe", Boolean, nullable=False),
    Column("late", Boolean, nullable=False),
    # Its group's digest did not match, or a block that built on it was quarantined.
    Column("doubtful", Boolean, nullable=False, default=False),
    Column("crc", BigInteger, nullable=False),  # CRC-32 of content
    Column("content", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

gaps = Table(
    "gaps",
    metadata,
    Column("outbox", Integer, primary_key=True),
    Column("stream_no", BigInteger, primary_key=True, autoincrement=False),
    Column("first_seq", BigInteger, primary_key=True, autoincrement=False),
    Column("last_seq", BigInteger),  # none: open-ended, the outbox is gone
    Column("records", BigInteger),  # none: nobody knows
    Column("end_tick", BigInteger),  # the first tick after it, where the vehicle told
    Column("reason", Text, nullable=False),
    Column("noted_at", WallTime, nullable=False),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("outbox", Integer, primary_key=True),
    Column("stream_no", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("why", Text, nullable=False),
    Column("received_at", WallTime, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

blobs = Table(
    "blobs",
    metadata,
    Column("kind", Integer, primary_key=True, autoincrement=False),  # protos BlobKind
    Column("hash", LargeBinary(16), primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

# What agents are offered, one for each schema: `collector priors train` writes it.
priors = Table(
    "priors",
    metadata,
    Column("schema_hash", LargeBinary(16), primary_key=True),
    Column("prior_hash", LargeBinary(16), nullable=False),  # a blob
    Column("trained_at", WallTime, nullable=False),
    Column("hours", Float, nullable=False),  # of records that it was trained on
    Column("gain", Float, nullable=False),  # share of the bytes that it saves, on others than these
    Column("saved_per_hour", Float, nullable=False),  # bytes
)

faults = Table(
    "faults",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("vin", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("signal", Text, nullable=False),
    Column("started_at", WallTime, nullable=False),
    Column("detected_at", WallTime, nullable=False),
    Column("ended_at", WallTime),  # none: still open
    Column("end_reason", Text),  # cleared, or: rule changed, outbox lost, outbox forked
    Column("peak", Float),
    Column("evidence", JsonText, nullable=False),  # the condition, values at and around the opening
    Column(
        "occurrence", BigInteger, nullable=False, default=1
    ),  # the how manieth of its code on this vehicle
    Column("approximate", Boolean, nullable=False),
    Column("late", Boolean, nullable=False),  # a backlog brought it
    Column("time_uncertain", Boolean, nullable=False),  # the vehicle's clock was not set, as far as is known
    Column("outbox", Integer, nullable=False),
    Column("stream_no", BigInteger, nullable=False),
    Column("first_tick", BigInteger, nullable=False),
    Column("detected_tick", BigInteger, nullable=False),
    Column("last_stream_no", BigInteger),
    Column("last_tick", BigInteger),
    Column("page", Text),  # under which name notices told of it; none: they did not, or in the digest alone
    UniqueConstraint("outbox", "stream_no", "first_tick", "code"),
    Index(
        "faults_open",
        "outbox",
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
    Index("faults_severity", "severity", "detected_at"),
    Index("faults_vin", "vin", "detected_at"),
)

# What heartbeats show while a backlog drains, beyond what ingest has. Gone once ingest has come so far: then there is such a
# fault above, or there never was. One for each rule of an outbox.
provisional_faults = Table(
    "provisional_faults",
    metadata,
    Column("outbox", Integer, primary_key=True, autoincrement=False),
    Column("code", Text, primary_key=True),
    Column("page", Text, nullable=False),  # what the fault takes over
    Column("vin", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("signal", Text, nullable=False),
    Column("evidence", JsonText, nullable=False),  # its rule
    Column("rule_hash", Text, nullable=False),
    Column("detected_at", WallTime, nullable=False),  # time of the heartbeat's record, which is at its place
    Column(
        "ended_at", WallTime
    ),  # time of the record that showed it to be over, as far as is known; none: it lasts
    Column("time_uncertain", Boolean, nullable=False),
    Column("stream_no", BigInteger, nullable=False),
    Column("tick", BigInteger, nullable=False),
    Column("ended_stream_no", BigInteger),
    Column("ended_tick", BigInteger),
)

# What there is to tell people, for whoever sends it on: written in the transaction that decided it, never changed. A sender reads
# `id > last ORDER BY id`, keeps the last id that it is done with, and after a restart goes on from there: ids only grow, are
# never given twice (but for a store that is restored from a backup), and one writer commits them in their order. What it sent
# twice a receiver tells by (page, kind).
#   opened     page somebody, now; once for each page. A provisional one may still be withdrawn
#   confirmed  the fault of a provisional page is here: nobody is paged again
#   closed     the fault of a page has ended, by its rule or not
#   withdrawn  the fault of a provisional page never was, or not as far as anybody can tell: ends the page
#   digest     opened and ended in a backlog; nobody was paged, a summary may name it
notices = Table(
    "notices",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("page", Text, nullable=False),  # one name for all that is told of one fault
    Column("vin", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("provisional", Boolean, nullable=False),  # a heartbeat alone showed it
    Column("detected_at", WallTime, nullable=False),  # as known when this was written
    Column("ended_at", WallTime),
    Column("age_s", Float),  # of the fault, since it was detected; none: the vehicle's clock was not set
    Column("at", WallTime, nullable=False),  # when this was written
    # Which row of faults it is about; of provisional_faults, where the heartbeat was.
    Column("outbox", Integer, nullable=False),
    Column("stream_no", BigInteger, nullable=False),
    Column("first_tick", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

# Of detectors. An open one is also what the detector goes on from after a restart.
anomalies = Table(
    "anomalies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("vin", Text, nullable=False),
    Column("detector", Text, nullable=False),  # zscore, robust, or forest:<model>
    Column("signal", Text, nullable=False),
    Column("started_at", WallTime, nullable=False),
    Column("ended_at", WallTime),  # none: still open
    Column("peak", Float, nullable=False),  # the signal's value at the most extreme score
    Column("score", Float, nullable=False),  # there
    Column("confidence", Float),  # 0 to 1; none: the detector has none
    Column("window_s", Integer, nullable=False),  # what it was compared with
    Column("approximate", Boolean, nullable=False),  # in a stretch that was stored wrong at first
    Column("late", Boolean, nullable=False),  # a backlog brought it
    Column("time_uncertain", Boolean, nullable=False),
    Column("outbox", Integer, nullable=False),
    Column("stream_no", BigInteger, nullable=False),
    Column("first_tick", BigInteger, nullable=False),
    Column("last_tick", BigInteger, nullable=False),  # where it was last seen, so far
    UniqueConstraint("outbox", "stream_no", "first_tick", "detector", "signal"),
    Index("anomalies_vin", "vin", "started_at"),
)

diagnoses = Table(
    "diagnoses",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("vin", Text, nullable=False),
    Column("signature", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("cause", Text, nullable=False),  # the most probable one
    Column("confidence", Float, nullable=False),  # of it, 0 to 1
    Column("action", Text, nullable=False),
    Column("detected_at", WallTime, nullable=False),
    # Where the first of its required parts was gone; none: all of them hold. It ends there once that is `within_s` ago.
    Column("last_seen_at", WallTime),
    Column("ended_at", WallTime),  # none: it stands
    Column("end_reason", Text),  # cleared, or: catalogue changed
    Column("causes", JsonText, nullable=False),  # every cause with its confidence
    Column("evidence", JsonText, nullable=False),  # what was seen, what was not, what could not be told
    Column("approximate", Boolean, nullable=False),
    Column("late", Boolean, nullable=False),
    Column("time_uncertain", Boolean, nullable=False),
    Column("outbox", Integer, nullable=False),
    Column("stream_no", BigInteger, nullable=False),
    Column("tick", BigInteger, nullable=False),
    Column("last_stream_no", BigInteger),
    Column("last_tick", BigInteger),
    UniqueConstraint("outbox", "stream_no", "tick", "signature"),
    Index("diagnoses_vin", "vin", "detected_at"),
)

battery_health = Table(
    "battery_health",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("vin", Text, nullable=False),
    Column("kind", Text, nullable=False),  # resistance, capacity, ripple, imbalance, imbalance_trend
    Column("at", WallTime, nullable=False),  # the end of the records that it is made of
    Column("value", Float, nullable=False),
    Column("uncertainty", Float, nullable=False),  # half-width: docs/diagnosis.md says of what
    Column("unit", Text, nullable=False),
    Column("n", Integer, nullable=False),  # what it is made of: steps, seconds, ticks, minutes
    Column("conditions", JsonText, nullable=False),  # signals, temperature, charge ...
    Column("approximate", Boolean, nullable=False),
    Column("late", Boolean, nullable=False),
    Column("time_uncertain", Boolean, nullable=False),
    Column("outbox", Integer, nullable=False),
    Column("stream_no", BigInteger, nullable=False),
    Column("first_tick", BigInteger, nullable=False),
    Column("tick", BigInteger, nullable=False),
    UniqueConstraint("outbox", "stream_no", "tick", "kind"),
    Index("battery_health_vin", "vin", "kind", "at"),
)

# What `vehicles` said of a vehicle over time: a row whenever one of these changed.
vehicle_health = Table(
    "vehicle_health",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("vin", Text, nullable=False),
    Column("at", WallTime, nullable=False),
    Column("state", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("firmware_version", Text, nullable=False),
    Column("agent_version", Text, nullable=False),
    Column("health", Text, nullable=False),
    Column("written_by", Text, nullable=False),  # greeting, heartbeat, farewell or start of the collector
    Index("vehicle_health_vin", "vin", "id"),
)

telemetry_logs = Table(
    "telemetry_logs",
    metadata,
    Column("id", BigId, primary_key=True),  # grows in the order of arrival
    Column("vin", Text, nullable=False),
    Column("timestamp", WallTime, nullable=False),
    Column("data", JsonText, nullable=False),  # {signal: number, word, or null where it is not available}
    Column("late", Boolean, nullable=False),
    Column("time_uncertain", Boolean, nullable=False),
    Column("outbox", Integer, nullable=False),
    Column("stream_no", BigInteger, nullable=False),
    Column("tick", BigInteger, nullable=False),
    UniqueConstraint("outbox", "stream_no", "tick"),
    Index("telemetry_logs_timestamp", "timestamp"),
    Index("telemetry_logs_vin", "vin", "timestamp"),  # the latest of a vehicle, a signal over a time range
)

# A minute of a stream's own ticks; `timestamp` is where it began. Only available values count; a minute without any has no row.
rollups = Table(
    "rollups",
    metadata,
    Column("vin", Text, primary_key=True),
    Column("signal", Text, primary_key=True),
    Column("outbox", Integer, primary_key=True, autoincrement=False),
    Column("stream_no", BigInteger, primary_key=True, autoincrement=False),
    Column("tick", BigInteger, primary_key=True, autoincrement=False),
    Column("timestamp", WallTime, nullable=False),
    Column("min", Float, nullable=False),
    Column("max", Float, nullable=False),
    Column("mean", Float, nullable=False),
    Column("count", Integer, nullable=False),
    sqlite_with_rowid=False,
)

# What operators say of faults. Apart from them, and by their places: a fault can be made again, what somebody said of it cannot.
acknowledgements = Table(
    "acknowledgements",
    metadata,
    Column("outbox", Integer, primary_key=True, autoincrement=False),
    Column("stream_no", BigInteger, primary_key=True, autoincrement=False),
    Column("first_tick", BigInteger, primary_key=True, autoincrement=False),
    Column("code", Text, primary_key=True),
    Column("at", WallTime, nullable=False),
    Column("by", Text, nullable=False),
    Column("mark", Text),  # true, or false_alarm; none: seen, not judged yet
    Column("note", Text, nullable=False),
)

# How far each webhook is, see collector/webhooks/plan.py. Whoever holds it sends: of several collectors, one.
webhooks = Table(
    "webhooks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("standing", JsonText, nullable=False),
    Column("holder", Text, nullable=False),
    Column("held_until_ns", BigInteger, nullable=False),
)

# Deliveries that were given up, for somebody to look at and send again.
dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("webhook", Text, nullable=False),
    Column("delivery", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("why", Text, nullable=False),
    Column("at", WallTime, nullable=False),
    sqlite_autoincrement=True,
)
