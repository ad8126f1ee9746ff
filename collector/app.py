"""`collector serve`: opens the store, listens, and ends cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog

import codec
from codec.kernel import origin
from codec.records import Records
from codec.schema import Kind, Schema, Signal
from codec.stream import StreamEncoder, StreamFacts
from codec.stream_decoder import StreamDecoder, decode_opened
from collector import battery, times
from collector.config import SHIPPED_CATALOGUE, split_address
from collector.detectors.detection import Detection, Detectors
from collector.garbage import look_now_and_then, look_seldom
from collector.gateway import NS, Gateway, start_server
from collector.ingest.analyses import load_analyses
from collector.ingest.ingest import Ingest
from collector.ingest.materialise import Materialise
from collector.models import load_detectors
from collector.rules_file import RulesFile
from collector.store.errors import StoreBusy, StoreError
from collector.store.keeping import Keep, tidy
from collector.store.ledger import StoreLedger
from collector.survey import Surveys
from collector.webhooks.sender import tell
from collector.webhooks.targets import load_targets
from collector.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from collector.config import Config
    from collector.rules import Rules
    from collector.store.address import Address
    from collector.writer import Delivery

OPEN_S = 10.0  # another process may hold the store for a moment, a start should not fail for it
KEEP_FIRST_S, KEEP_S, KEEP_RETRY_S = 5.0, 3600.0, 60.0
FLUSH_S = 2.5  # what a stop gives the store; with the rest it stays under 5 s
CALLS_END_S = 1.0

log = structlog.get_logger()


async def serve(config: Config) -> bool:
    """Until SIGTERM or SIGINT. True if it ended as it should.

    Raises RuleError, ModelError, DetectorSettingsError, CatalogueError, RolesError, ConfigError, StoreError, NoKernels or
    OSError where it cannot start.
    """
    look_seldom()
    kernels = origin(codec)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    rules_file = RulesFile(config.rules)
    targets = load_targets(config.webhooks, os.environ) if config.webhooks != Path() else ()
    ledger = await _open(config)
    gateway = Gateway(window_bytes=config.window_bytes, ack_within_ns=round(config.ack_within_s * NS))
    analyses = load_analyses(config.catalogue, config.battery)
    _tell_of_signatures(config.catalogue, analyses.catalogue.unknown_codes(rules_file.rules.by_code()))
    # Rules may have changed while nobody was here.
    ingest = Ingest(
        rules_file.rules,
        load_detectors(config.detectors),
        analyses,
        materialise=Materialise(config.materialise_hz, config.faults_before_s, config.faults_after_s),
        settled=False,
    )

    def change_rules(rules: Rules) -> None:
        ingest.set_rules(rules)  # first: what a vehicle says after it heard of them finds them in force
        gateway.set_guards(rules.guards())

    def deliver(delivery: Delivery) -> None:
        # Once the loop has ended: it is stored, and will be acknowledged when it is sent again.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(gateway.deliver, delivery)

    writer = gateway.writer = Writer(ledger, ingest, deliver, time.time_ns)
    server, port = await start_server(gateway, config.listen)
    writer.start(warm_up, lambda: loop.call_soon_threadsafe(ended.set))
    host, _ = split_address(config.listen)
    log.info(
        "listening",
        address=f"{host}:{port}",
        store=str(ledger.address),
        rules=len(rules_file.rules.rules),
        signatures=len(analyses.catalogue.signatures),
        kernels=kernels,
    )
    loop.add_signal_handler(signal.SIGHUP, rules_file.ask)
    telling = _started(tell(targets, config.store, time.time_ns), "webhooks")
    keeping = threading.Event()
    keep = Keep.of(config)
    threading.Thread(target=_keep, args=(ledger.address, keep, keeping), name="keeping", daemon=True).start()
    others = [_started(rules_file.watch(change_rules), "rules"), _started(look_now_and_then(), "garbage")]
    _notify("READY=1")
    await ended.wait()

    log.info("ending")
    for task in (telling, *others):
        task.cancel()
    keeping.set()
    _notify("STOPPING=1")
    gateway.stop_reading()
    flushed = await asyncio.to_thread(writer.stop, FLUSH_S)
    gateway.close()
    await server.stop(CALLS_END_S)
    await asyncio.wait({telling})
    log.info("ended", flushed=flushed)
    return not writer.failed


def _started(work: Coroutine[Any, Any, None], what: str) -> asyncio.Task[None]:
    """A task that nobody waits for: if it fails, the log says so at once."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task has ended; restart the collector", task=what, exc_info=error)

    task = asyncio.create_task(work)
    task.add_done_callback(ended)
    return task


def warm_up() -> None:
    """One block, as ingest takes it: where kernels are not compiled yet, that takes a while, and the first vehicle need not wait."""
    signals = (Signal("PackVoltage", unit="V", threshold=1.0), Signal("PackCurrent", unit="A"))
    schema = Schema(1, (*signals, Signal("float", kind=Kind.FLOAT64)))
    facts, shape = StreamFacts(bytes(16), 0, 0), (2, len(signals) + 1)
    block = StreamEncoder(schema, facts).encode(
        Records(0, np.zeros(shape, np.int64), np.zeros(shape, np.uint8))
    )
    decoded = StreamDecoder(schema, facts).decode(block.seq, block.content)
    Detection(Detectors(), schema, 0).take(decoded.records)
    decoder = StreamDecoder(schema, facts)
    _, (together,) = decode_opened([(decoder, decoder.open(block.seq, block.content))])
    Surveys(schema, together.counts, together.states)
    battery.portions(battery.bind(battery.Roles(), schema), [0], together.counts, together.states)


def _keep(address: Address, keep: Keep, ended: threading.Event) -> None:
    """Every hour, in a thread of its own: it may wait for the disk."""
    pause_s = KEEP_FIRST_S
    while not ended.wait(pause_s):
        pause_s = KEEP_S
        try:
            gone = tidy(address, keep, datetime.fromtimestamp(time.time_ns() / NS, UTC))
        except StoreError as error:
            pause_s = KEEP_RETRY_S
            log.warning("what is too old could not be deleted; trying again", trouble=str(error))
        except Exception:
            log.exception("a bug kept what is too old from being deleted; trying again")
        else:
            if gone:
                log.info("deleted what is too old", **gone)


def _tell_of_signatures(catalogue: Path, complaints: Sequence[str]) -> None:
    """Of those that wait for faults that no rule raises: in somebody's own catalogue that is a mistake, in the shipped one it is not."""
    if catalogue == SHIPPED_CATALOGUE and complaints:
        told = "parts of shipped signatures wait for faults that no rule here raises"
        log.info(told, parts=len(complaints), which="collector diagnosis check")
        return
    for complaint in complaints:
        log.warning("a signature cannot be told", catalogue=str(catalogue), trouble=complaint)


async def _open(config: Config) -> StoreLedger:
    until = time.monotonic() + OPEN_S
    while True:
        try:
            ledger = StoreLedger(config.store)
            ledger.nobody_is_online(times.to_text(time.time_ns()))
            return ledger
        except StoreBusy as error:
            if time.monotonic() > until:
                raise
            log.warning("store is not to be had yet; waiting", trouble=str(error))
            await asyncio.sleep(0.5)


def _notify(state: str) -> None:
    """Tell systemd. Source: sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier:
            notifier.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
    except OSError:
        pass  # a service manager that went away is not worth dying for
