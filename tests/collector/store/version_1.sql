-- A store as collectors made it that knew no revisions.
CREATE TABLE vehicles (
	vin TEXT NOT NULL,
	model TEXT NOT NULL,
	firmware_version TEXT NOT NULL,
	agent_version TEXT NOT NULL,
	state TEXT NOT NULL,
	first_seen TEXT NOT NULL,
	last_seen TEXT NOT NULL,
	heartbeat TEXT,
	PRIMARY KEY (vin)
);
CREATE TABLE batches (
	outbox INTEGER NOT NULL,
	stream_no BIGINT NOT NULL,
	seq BIGINT NOT NULL,
	first_tick BIGINT NOT NULL,
	record_count INTEGER NOT NULL,
	skip INTEGER NOT NULL,
	keyframe BOOLEAN NOT NULL,
	late BOOLEAN NOT NULL,
	doubtful BOOLEAN NOT NULL,
	crc BIGINT NOT NULL,
	content BLOB NOT NULL,
	PRIMARY KEY (outbox, stream_no, seq)
)
 WITHOUT ROWID;
CREATE TABLE gaps (
	outbox INTEGER NOT NULL,
	stream_no BIGINT NOT NULL,
	first_seq BIGINT NOT NULL,
	last_seq BIGINT,
	records BIGINT,
	end_tick BIGINT,
	reason TEXT NOT NULL,
	noted_at TEXT NOT NULL,
	PRIMARY KEY (outbox, stream_no, first_seq)
);
CREATE TABLE quarantine (
	outbox INTEGER NOT NULL,
	stream_no BIGINT NOT NULL,
	seq BIGINT NOT NULL,
	why TEXT NOT NULL,
	received_at TEXT NOT NULL,
	content BLOB NOT NULL,
	PRIMARY KEY (outbox, stream_no, seq)
);
CREATE TABLE blobs (
	kind INTEGER NOT NULL,
	hash BLOB NOT NULL,
	content BLOB NOT NULL,
	PRIMARY KEY (kind, hash)
);
CREATE TABLE priors (
	schema_hash BLOB NOT NULL,
	prior_hash BLOB NOT NULL,
	trained_at TEXT NOT NULL,
	hours FLOAT NOT NULL,
	gain FLOAT NOT NULL,
	saved_per_hour FLOAT NOT NULL,
	PRIMARY KEY (schema_hash)
);
CREATE TABLE faults (
	id INTEGER NOT NULL,
	vin TEXT NOT NULL,
	code TEXT NOT NULL,
	severity TEXT NOT NULL,
	description TEXT NOT NULL,
	action TEXT NOT NULL,
	signal TEXT NOT NULL,
	started_at TEXT NOT NULL,
	detected_at TEXT NOT NULL,
	ended_at TEXT,
	end_reason TEXT,
	peak FLOAT,
	evidence TEXT NOT NULL,
	approximate BOOLEAN NOT NULL,
	late BOOLEAN NOT NULL,
	time_uncertain BOOLEAN NOT NULL,
	outbox INTEGER NOT NULL,
	stream_no BIGINT NOT NULL,
	first_tick BIGINT NOT NULL,
	detected_tick BIGINT NOT NULL,
	last_stream_no BIGINT,
	last_tick BIGINT,
	PRIMARY KEY (id),
	UNIQUE (outbox, stream_no, first_tick, code)
);
CREATE INDEX faults_vin ON faults (vin, detected_at);
CREATE INDEX faults_severity ON faults (severity, detected_at);
CREATE TABLE telemetry_logs (
	id INTEGER NOT NULL,
	vin TEXT NOT NULL,
	timestamp TEXT NOT NULL,
	data TEXT NOT NULL,
	late BOOLEAN NOT NULL,
	time_uncertain BOOLEAN NOT NULL,
	outbox INTEGER NOT NULL,
	stream_no BIGINT NOT NULL,
	tick BIGINT NOT NULL,
	PRIMARY KEY (id),
	UNIQUE (outbox, stream_no, tick)
);
CREATE INDEX telemetry_logs_timestamp ON telemetry_logs (timestamp);
CREATE TABLE outboxes (
	id INTEGER NOT NULL,
	vin TEXT NOT NULL,
	outbox_id BLOB NOT NULL,
	revision BIGINT NOT NULL,
	stream_no BIGINT NOT NULL,
	next_seq BIGINT NOT NULL,
	stored_stream_no BIGINT,
	stored_seq BIGINT,
	record_count BIGINT NOT NULL,
	end_tick BIGINT,
	group_seq BIGINT,
	open_gap_seq BIGINT,
	rule_state TEXT NOT NULL,
	replaced_by BLOB,
	received_at TEXT,
	PRIMARY KEY (id),
	UNIQUE (vin, outbox_id),
	FOREIGN KEY(vin) REFERENCES vehicles (vin)
);
CREATE TABLE streams (
	outbox INTEGER NOT NULL,
	stream_no BIGINT NOT NULL,
	stream_id BLOB NOT NULL,
	boot_id BLOB NOT NULL,
	schema_hash BLOB NOT NULL,
	origin_tick BIGINT NOT NULL,
	facts_offset_ns BIGINT NOT NULL,
	facts_synchronised BOOLEAN NOT NULL,
	guards_hash BLOB NOT NULL,
	prior_hash BLOB NOT NULL,
	offset_ns BIGINT NOT NULL,
	synchronised BOOLEAN NOT NULL,
	prev_last_seq BIGINT,
	prev_digest BIGINT NOT NULL,
	prev_stream_id BLOB NOT NULL,
	PRIMARY KEY (outbox, stream_no),
	FOREIGN KEY(outbox) REFERENCES outboxes (id)
);
CREATE INDEX streams_stream_id ON streams (stream_id);
PRAGMA user_version = 1;
