"""The daemon on the vehicle: frames in, durable blocks out, and nothing forgotten that was not acknowledged.

config, config_file, choices         what is sampled, and every way to say it wrong
bus, clock, merge                    frames at the door, in one order and one time
pipeline, crossings, recovery        records to journal rows and blocks; when a block ends
outbox, outbox_reader, rows          the SQLite file that everything goes through
session, events                      the uplink's conversation, without I/O
capture, capture_thread, app         the one writer; uplink, conversation: gRPC; health, status, logs
propose, estimate, recorded          `init` and `estimate`
"""
