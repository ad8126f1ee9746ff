"""Where the fleet reports: takes in what vehicles send, exactly once, and judges it.

conversation, wire           one agent's connection, without I/O: messages in, actions out
ingest, progress, outbox     what counts, what is a duplicate, what is missing
active, rows, materialise    blocks to records, records to rows
rules/                       conditions, evaluated over whole blocks
store/                       tables, one writer, readers that give back the full rate
writer, gateway, app         the shell: one transaction at a time, gRPC, signals
query, tail, importer        the command line
"""
