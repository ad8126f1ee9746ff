"""Who is told of a fault, and when: decisions on one outbox's faults. Pure.

Rules
- A fault that opens in what is not late pages at once. What a backlog brings waits for its end: the first batch that is not
  late, or a vehicle that has sent everything and parks. What is still open then pages once; what opened and ended before
  goes to the digest.
- Whoever was paged is told of the end, late or not.
- While a backlog drains, heartbeats tell of now. A rule that lasts there, beyond what ingest has, raises a provisional fault,
  and that pages: one for each rule at a time, and none where an open fault of the rule was paged already.
- The next fault of the rule that would page takes over the provisional one's page. When ingest passes its place, the fault
  that covers it takes it over, open or ended meanwhile; where there is none, it is withdrawn.
- A page is closed by what is certain only: that a provisional fault seems to be over is shown, and no more.
- A fault that ended because its outbox was lost goes on if that is here after all: a clone has it. Then it is told anew, and
  at once: whoever was told of its end was told wrong.
- A page has one name for ever: by the place where its fault begins, or goes on anew. A provisional one's is numbered, too: it may
  be withdrawn, and raised at the same place again, or a fault may begin there that has nothing to do with it.
- Places are (stream_no, tick), in the order of the outbox. Clocks order nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Place = tuple[int, int]  # (stream_no, tick)
FaultKey = tuple[int, int, str]  # (stream_no, first_tick, code)


class Kind(Enum):
    """What there is to tell. `tables.py` says what each means to a reader."""

    OPENED = "opened"
    CONFIRMED = "confirmed"
    CLOSED = "closed"
    DIGEST = "digest"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Fault:
    """One that ingest found. `page` is the name under which somebody was told of it; empty: nobody was."""

    code: str
    severity: str
    description: str
    stream_no: int
    first_tick: int
    detected_tick: int
    page: str = ""

    @property
    def key(self) -> FaultKey:
        return self.stream_no, self.first_tick, self.code

    @property
    def first(self) -> Place:
        return self.stream_no, self.first_tick


@dataclass(frozen=True, slots=True)
class Provisional:
    """A heartbeat showed its rule to last at this place. `ended`: another one, that it does no longer."""

    code: str
    severity: str
    description: str
    rule_hash: str
    stream_no: int
    tick: int
    page: str
    ended: Place | None = None

    @property
    def place(self) -> Place:
        return self.stream_no, self.tick


@dataclass(frozen=True, slots=True)
class Notice:
    """`page` names what it is about, from the first notice to the last. `ended`: where the fault was last seen to hold."""

    kind: Kind
    fault: Fault | Provisional
    page: str
    ended: Place | None = None


@dataclass(frozen=True, slots=True)
class Paging:
    """Of one outbox: its open faults, and the provisional ones by code."""

    outbox: int
    open: Mapping[FaultKey, Fault] = field(default_factory=dict)
    provisional: Mapping[str, Provisional] = field(default_factory=dict)

    def paged(self, code: str) -> bool:
        """Whether somebody knows of an open fault of the rule."""
        return any(fault.page for fault in self.open.values() if fault.code == code)


def found(
    paging: Paging, faults: Iterable[tuple[Fault, Place | None]], since: Place, *, late: bool
) -> tuple[list[Notice], Paging]:
    """A block that begins at `since` was stored: faults that it opened, changed or ended, with where each ended (None: open)."""
    notices: list[Notice] = []
    opened, provisional = dict(paging.open), dict(paging.provisional)
    for fault, ended in faults:
        known = opened.get(fault.key)
        begins = (fault.stream_no, fault.detected_tick) >= since
        anew = known is None and not begins
        page = _page(paging.outbox, since if anew else fault.first, fault.code)
        now = known or fault
        if ended is None and anew:
            notice, now = _paged(now, provisional.pop(fault.code, None), page)
            notices.append(notice)
        if ended is None:
            opened[fault.key] = now
            continue
        opened.pop(fault.key, None)
        at_once = not late and known is None and begins
        notices += _ended(now, ended, provisional, page, at_once=at_once)
    paging = Paging(paging.outbox, opened, provisional)
    if late:
        return notices, paging
    due, paging = backlog_over(paging)
    return notices + due, paging


def backlog_over(paging: Paging) -> tuple[list[Notice], Paging]:
    """Everything up to now is here: what is open pages, if it did not yet."""
    notices: list[Notice] = []
    opened, provisional = dict(paging.open), dict(paging.provisional)
    for key, fault in paging.open.items():
        if not fault.page:
            notice, opened[key] = _paged(
                fault, provisional.pop(fault.code, None), _page(paging.outbox, fault.first, fault.code)
            )
            notices.append(notice)
    return notices, Paging(paging.outbox, opened, provisional)


def passed(paging: Paging, position: Place) -> tuple[list[Notice], Paging]:
    """Everything before `position` is here, or in a gap."""
    notices: list[Notice] = []
    opened, provisional = dict(paging.open), dict(paging.provisional)
    for code, shown in paging.provisional.items():
        if shown.place >= position:
            continue
        del provisional[code]
        covering = next((f for f in opened.values() if f.code == code and f.first <= shown.place), None)
        if covering is None or covering.page:
            notices.append(Notice(Kind.WITHDRAWN, shown, shown.page))
        else:
            notice, opened[covering.key] = _paged(covering, shown, shown.page)
            notices.append(notice)
    return notices, Paging(paging.outbox, opened, provisional)


def shown(
    paging: Paging,
    rules: Iterable[tuple[Provisional, bool | None]],
    position: Place,
    number: str,
) -> tuple[list[Notice], Paging]:
    """A heartbeat came: of each rule, what it would raise (its page still empty), and whether it lasts (None: not known).

    `number`: of this heartbeat among all that raise anything in this outbox.
    """
    notices: list[Notice] = []
    provisional = dict(paging.provisional)
    for candidate, lasts in rules:
        known = provisional.get(candidate.code)
        if known is not None and known.place <= candidate.place:
            if lasts is not None and lasts != (known.ended is None):
                provisional[known.code] = replace(known, ended=None if lasts else candidate.place)
        elif known is None and lasts and candidate.place >= position and not paging.paged(candidate.code):
            page = f"{_page(paging.outbox, candidate.place, candidate.code)}/{number}"
            raised = provisional[candidate.code] = replace(candidate, page=page)
            notices.append(Notice(Kind.OPENED, raised, page))
    return notices, replace(paging, provisional=provisional)


def ended(paging: Paging, key: FaultKey, at: Place) -> tuple[list[Notice], Paging]:
    """An open fault ended otherwise than by its rule: that changed, or the outbox is gone."""
    opened = dict(paging.open)
    fault = opened.pop(key, None)
    if fault is None:
        return [], paging
    kind = Kind.CLOSED if fault.page else Kind.DIGEST
    return [Notice(kind, fault, fault.page or _page(paging.outbox, fault.first, fault.code), at)], replace(
        paging, open=opened
    )


def withdrawn(paging: Paging, current: Mapping[str, str]) -> tuple[list[Notice], Paging]:
    """Only provisional faults of these rules stay (hash by code)."""
    gone = [one for one in paging.provisional.values() if current.get(one.code) != one.rule_hash]
    kept = {code: one for code, one in paging.provisional.items() if one not in gone}
    return [Notice(Kind.WITHDRAWN, one, one.page) for one in gone], replace(paging, provisional=kept)


def _ended(
    fault: Fault, ended: Place, provisional: dict[str, Provisional], page: str, *, at_once: bool
) -> list[Notice]:
    """Of a fault that ended in this block. `at_once`: it opened in it too, and pages though it is over. `page`: its own."""
    notices = []
    shown = provisional.get(fault.code)
    covers = shown is not None and fault.first <= shown.place <= ended
    if not fault.page and (covers or at_once):
        notice, fault = _paged(fault, provisional.pop(fault.code) if covers else None, page)
        notices.append(notice)
    kind = Kind.CLOSED if fault.page else Kind.DIGEST
    return [*notices, Notice(kind, fault, fault.page or page, ended)]


def _paged(fault: Fault, shown: Provisional | None, page: str) -> tuple[Notice, Fault]:
    """The fault takes over a provisional one's page, or gets its own, which is `page`."""
    fault = replace(fault, page=page if shown is None else shown.page)
    kind = Kind.OPENED if shown is None else Kind.CONFIRMED
    return Notice(kind, fault, fault.page), fault


def _page(outbox: int, place: Place, code: str) -> str:
    return f"{outbox}-{place[0]}-{place[1]}-{code}"
