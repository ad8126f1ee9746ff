-- Every statement of the outbox, by name. A position is stream_no << 32 | seq: one integer orders everything, and as
-- the row id it makes the table its own index.

-- name: schema
-- Version 1, see `user_version`. Stream rows and gaps outlive their batches: a request for what is gone is answered.
CREATE TABLE facts (
    key TEXT PRIMARY KEY,
    value ANY
) STRICT, WITHOUT ROWID;
CREATE TABLE streams (
    stream_no INTEGER PRIMARY KEY,
    stream_id BLOB NOT NULL,
    boot_id BLOB NOT NULL,
    schema_hash BLOB NOT NULL,
    origin_tick INTEGER NOT NULL,
    clock_offset_ns INTEGER NOT NULL,
    clock_synchronised INTEGER NOT NULL,
    guards_hash BLOB NOT NULL,          -- as the stream began: what its keyframes mean that name no other
    prior_hash BLOB NOT NULL,
    next_seq INTEGER NOT NULL DEFAULT 0,
    record_count INTEGER NOT NULL DEFAULT 0,
    end_tick INTEGER NOT NULL,
    digest INTEGER NOT NULL DEFAULT 0,  -- of the last keyframe group
    guards_now BLOB NOT NULL,           -- set in force, for finishing the stream after a crash
    crc INTEGER NOT NULL,               -- CRC-32 of what a stream begins with, without its number
    end_crc INTEGER NOT NULL            -- and of what its blocks change
) STRICT;
CREATE TABLE batches (
    position INTEGER PRIMARY KEY,
    group_position INTEGER NOT NULL,    -- of the keyframe that the block builds on, or is
    first_tick INTEGER NOT NULL,
    record_count INTEGER NOT NULL,
    end_record INTEGER NOT NULL,        -- cumulative in the stream, this block included
    crossing INTEGER NOT NULL,
    crc INTEGER NOT NULL,               -- CRC-32 of the rest, with seqs for positions
    content BLOB NOT NULL
) STRICT;
CREATE INDEX batches_crossing ON batches (group_position) WHERE crossing;
CREATE TABLE journal (
    slot INTEGER PRIMARY KEY,           -- from 0 for each block
    stream_no INTEGER NOT NULL,
    first_tick INTEGER NOT NULL,
    record_count INTEGER NOT NULL,
    crc BLOB NOT NULL,                  -- four bytes: rows have to have one size
    size INTEGER NOT NULL,              -- of the content; the rest fills it up
    content BLOB NOT NULL
) STRICT;
CREATE TABLE gaps (
    position INTEGER PRIMARY KEY,       -- of the first missing batch
    last_position INTEGER NOT NULL,     -- of the last missing one, in the same stream
    end_record INTEGER NOT NULL,
    end_tick INTEGER NOT NULL,
    reason INTEGER NOT NULL,
    crc INTEGER NOT NULL                -- CRC-32 of the rest, with seqs for positions
) STRICT;
CREATE TABLE blobs (
    kind INTEGER NOT NULL,              -- as BlobKind on the wire: 1 schema (zstd), 2 guards, 3 prior
    hash BLOB NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (kind, hash)
) STRICT, WITHOUT ROWID;

-- name: side_log_schema
-- Demo mode only: what was sampled, to compare with what arrives.
CREATE TABLE IF NOT EXISTS side_log (id INTEGER PRIMARY KEY, stream_no INTEGER, content BLOB);

-- name: fact
SELECT value FROM facts WHERE key = ?;

-- name: set_fact
INSERT INTO facts (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- name: insert_stream
INSERT INTO streams (stream_no, stream_id, boot_id, schema_hash, origin_tick, clock_offset_ns, clock_synchronised,
    guards_hash, prior_hash, end_tick, guards_now, crc, end_crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: update_stream
-- Where the stream's next block goes on.
UPDATE streams SET next_seq = ?, record_count = ?, end_tick = ?, digest = ?, guards_now = ?, end_crc = ?
WHERE stream_no = ?;

-- name: stream
SELECT stream_id, stream_no, origin_tick, clock_offset_ns, clock_synchronised, guards_hash, prior_hash, boot_id,
    schema_hash, crc, next_seq, record_count, end_tick, digest, guards_now, end_crc FROM streams WHERE stream_no = ?;

-- name: next_stream_no
SELECT coalesce(max(stream_no) + 1, 0) FROM streams;

-- name: first_longer
-- The first stream from a number on that goes beyond a seq; in those after it any block does.
SELECT stream_no FROM streams WHERE stream_no >= ?1 AND next_seq > CASE stream_no WHEN ?1 THEN ?2 ELSE 0 END
ORDER BY stream_no LIMIT 1;

-- name: streams
SELECT stream_id, stream_no, origin_tick, clock_offset_ns, clock_synchronised, guards_hash, prior_hash, boot_id,
    schema_hash, crc, next_seq, record_count, end_tick, digest, guards_now, end_crc FROM streams ORDER BY stream_no;

-- name: stream_of_schema
SELECT stream_no FROM streams WHERE schema_hash = ? LIMIT 1;

-- name: unacked_batches
-- Seqs of all streams from `wanted` (stream_no, seq, stream_no) on; no batch is read for it.
SELECT coalesce(sum(CASE WHEN stream_no = ? THEN max(next_seq - ?, 0) ELSE max(next_seq, 0) END), 0)
FROM streams WHERE stream_no >= ?;

-- name: insert_batch
INSERT INTO batches (position, group_position, first_tick, record_count, end_record, crossing, crc, content)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: batches_from
-- In order, from a position on.
SELECT position, group_position, first_tick, record_count, end_record, crossing, crc, content FROM batches
WHERE position >= ? AND position < ? ORDER BY position LIMIT ?;

-- name: first_batch
SELECT position FROM batches WHERE position >= ? ORDER BY position LIMIT 1;

-- name: last_begun
-- The newest stream before a number that has batches, or had.
SELECT stream_no, next_seq FROM streams WHERE next_seq > 0 AND stream_no < ? ORDER BY stream_no DESC LIMIT 1;

-- name: batches_before
-- In reverse, of what `batches_from` gives.
SELECT position, group_position, first_tick, record_count, end_record, crossing, crc, content FROM batches
WHERE position >= ? AND position < ? ORDER BY position DESC;

-- name: first_plain_group
-- The oldest keyframe from a position on in whose group no guard was crossed.
SELECT position FROM batches AS b WHERE position >= ? AND position = group_position AND NOT EXISTS (
    SELECT 1 FROM batches AS c WHERE c.crossing AND c.group_position = b.position
) ORDER BY position LIMIT 1;

-- name: keyframes_between
-- Two positions, both left out.
SELECT position, group_position, first_tick, record_count, end_record, crossing, crc, content FROM batches
WHERE position > ? AND position < ? AND position = group_position ORDER BY position;

-- name: places
SELECT position FROM batches WHERE position >= ? AND position < ?;

-- name: delete_batch
DELETE FROM batches WHERE position = ?;

-- name: delete_batches
DELETE FROM batches WHERE position >= ? AND position < ?;

-- name: gaps
SELECT position, last_position, end_record, end_tick, reason, crc FROM gaps;

-- name: gaps_from
-- Gaps that end at or after a position, in order.
SELECT position, last_position, end_record, end_tick, reason, crc FROM gaps
WHERE last_position >= ? AND position < ? ORDER BY position LIMIT ?;

-- name: insert_gap
INSERT INTO gaps (position, last_position, end_record, end_tick, reason, crc) VALUES (?, ?, ?, ?, ?, ?);

-- name: gaps_between
-- That share a position with first..last, or touch it (last + 1, first - 1).
SELECT position, last_position, end_record, end_tick, reason, crc FROM gaps
WHERE position <= ? AND last_position >= ? ORDER BY position;

-- name: gaps_before
-- In reverse, of what `gaps_from` gives.
SELECT position, last_position, end_record, end_tick, reason, crc FROM gaps
WHERE position >= ? AND position < ? ORDER BY position DESC;

-- name: delete_gaps
DELETE FROM gaps WHERE position >= ? AND position < ?;

-- name: put_journal
-- Over what an earlier block left there: an UPDATE writes in place, a REPLACE would not.
INSERT INTO journal (slot, stream_no, first_tick, record_count, crc, size, content) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (slot) DO UPDATE SET stream_no = excluded.stream_no, first_tick = excluded.first_tick,
    record_count = excluded.record_count, crc = excluded.crc, size = excluded.size, content = excluded.content;

-- name: journal
SELECT stream_no, first_tick, record_count, crc, size, content FROM journal ORDER BY slot;

-- name: delete_journal
DELETE FROM journal;

-- name: insert_blob
-- Written over what may have been damaged meanwhile: the hash is that of the same content.
INSERT INTO blobs (kind, hash, content) VALUES (?, ?, ?)
ON CONFLICT (kind, hash) DO UPDATE SET content = excluded.content WHERE content IS NOT excluded.content;

-- name: blob
SELECT content FROM blobs WHERE kind = ? AND hash = ?;

-- name: delete_priors
-- Those that no stream names which is the newest, or has batches left.
DELETE FROM blobs WHERE kind = 3 AND hash NOT IN (
    SELECT prior_hash FROM streams AS s WHERE stream_no = (SELECT max(stream_no) FROM streams) OR EXISTS (
        SELECT 1 FROM batches WHERE position >= s.stream_no << 32 AND position < (s.stream_no + 1) << 32
    )
);

-- name: insert_side_log
INSERT INTO side_log (stream_no, content) VALUES (?, ?);

-- name: delete_streams
DELETE FROM streams WHERE stream_no < ?;

-- name: move_batches
-- A fork numbers its streams from 0 again: everything moves down by as much.
UPDATE batches SET position = position - ?1, group_position = group_position - ?1;

-- name: move_gaps
UPDATE gaps SET position = position - ?1, last_position = last_position - ?1;

-- name: move_streams
UPDATE streams SET stream_no = stream_no - ?;
