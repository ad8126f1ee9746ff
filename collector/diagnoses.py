"""`collector diagnosis`: whether a catalogue is sound, and what it makes of stored records."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from collector import times
from collector.dbcs import signals_of
from collector.diagnosis import DEFAULT_CATALOGUE, load_catalogue
from collector.diagnosis.explain import Examined, examine, ranked, status, why_not
from collector.reading.moments import as_ns
from collector.rules import DEFAULT_FILE, load_rules
from collector.store import open_store
from collector.words import counted

if TYPE_CHECKING:
    import argparse

    from collector.diagnosis import Diagnosis, Signature


class Unknown(ValueError):
    """A catalogue that names rules that are not there, one a line."""


def check(options: argparse.Namespace) -> None:
    """Raises CatalogueError, RuleError, DbcsUnread, Unknown."""
    path = options.catalogue or DEFAULT_CATALOGUE
    catalogue = load_catalogue(path)
    codes = [rule.code for rule in load_rules(options.rules or DEFAULT_FILE).rules]
    signals = signals_of(options.dbc) if options.dbc else None
    found = catalogue.unknown_codes(codes)
    if found:
        raise Unknown("\n".join(f"{path}: {one}" for one in found))
    parts = sum(len(one.parts) for one in catalogue.signatures)
    print(f"{path}: {counted(len(catalogue.signatures), 'signature')}, {counted(parts, 'part')}")
    if signals is None:
        print("names of signals were not looked at: name the vehicle's DBC with --dbc")
        return
    # No error: in a mixed fleet, some vehicle has it.
    for one in catalogue.unknown_signals(signals):
        print(f"{path}: {one}; it cannot be told there")


def explain(options: argparse.Namespace) -> None:
    """Raises CatalogueError, RuleError, QueryError, StoreError."""
    catalogue = load_catalogue(options.catalogue or DEFAULT_CATALOGUE)
    store = open_store(options.store)
    vehicle = store.vehicle(options.vin)
    model = next(row["model"] for row in store.vehicles(counted=False) if row["vin"] == vehicle.vin)
    rules = load_rules(options.rules or DEFAULT_FILE).for_vehicle(vehicle.vin, model)
    now_ns = time.time_ns()
    start_ns, end_ns = (as_ns(text, now_ns) for text in (options.start, options.end))
    found = examine(catalogue, rules, store.runs(vehicle.vin, start_ns, end_ns))
    print(
        f"{vehicle.vin}: {counted(found.records, 'record')}, {counted(len(found.diagnoses), 'diagnosis', 'diagnoses')}"
    )
    diagnosed: set[str] = set()
    for began_ns, ended_ns, one in found.diagnoses:
        signature = catalogue.signature(one.finding.code)
        assert signature is not None
        diagnosed.add(signature.code)
        _print_diagnosis(signature, one, began_ns, ended_ns, found)
    for signature in catalogue.signatures:
        if signature.code not in diagnosed:
            print(f"\nno {signature.code}: " + "; ".join(why_not(signature, found)))


def _print_diagnosis(
    signature: Signature, one: Diagnosis, began_ns: int, ended_ns: int | None, found: Examined
) -> None:
    ended = f"to {times.to_text(ended_ns)}" if ended_ns is not None else "still open at the end"
    if ended_ns is None and one.finding.gone is not None:
        ended += f", which comes less than {signature.within_s:g} s after it was last seen"
    print(f"\n{signature.code} from {times.to_text(began_ns)} {ended}: {signature.title}")
    for confidence, cause in ranked(signature, one):
        print(f"  {confidence:.2f}  {cause.cause}")
        print(f"        {cause.action}")
    for part in signature.parts:
        mark = "+" if part.name in one.finding.seen else "-" if part.name in one.finding.not_seen else "?"
        sighting = one.finding.seen.get(part.name)
        print(f"  {mark} {part.name}: {status(part, found)}", end="")
        if sighting is not None and sighting.values:
            values = ", ".join(f"{name} {_value(value)}" for name, value in sighting.values.items())
            peak = "" if sighting.peak is None else f"; peak {_value(sighting.peak)}"
            print(f"; then {values}{peak}", end="")
        print()


def _value(value: float | None) -> str:
    return "not available" if value is None else f"{value:.4g}"
