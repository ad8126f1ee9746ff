"""Ingest: items in, rows and outcomes out. What a block does to what is stored, decided without a socket or a clock.

`ingest` applies items, one transaction at a time; `blocks` says what a batch or a gap does, by `progress`, `active` and `taken`;
`findings` says what is made of new records: rows and minutes (`materialised`), faults and pages (`pager`), episodes, diagnoses,
battery health. `outbox` is what is known of one outbox, `changes` what a transaction collects for the store.
"""
