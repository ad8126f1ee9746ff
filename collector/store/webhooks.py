"""What webhooks need of the store: notices to tell, how far each webhook is, and what it gave up."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, delete, func, insert, select, update

from collector import times
from collector.store.address import Address, address_of
from collector.store.engine import explained, open_engine
from collector.store.statements import insert_new
from collector.store.tables import dead_letters, faults, notices, webhooks
from collector.webhooks.notice import Notice
from collector.webhooks.plan import GROUP_MAX, Standing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

LEASE_NS = 15 * 10**9  # a collector that died keeps its webhooks from others for so long
PAGE_NOTICES = 10 * GROUP_MAX
DEAD_LETTERS_MAX = 10_000  # of all webhooks; beyond that the oldest go


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that was given up. `id` None: not stored yet."""

    webhook: str
    delivery: str
    body: bytes
    why: str
    at: str
    id: int | None = None


class WebhookStore:
    """Opened at once; raises StoreError. `holder` names this process among those that may send."""

    def __init__(self, where: Address | Path | str, holder: str) -> None:
        self.address = address_of(where)
        self._holder = holder
        self._reading = open_engine(self.address, write=False)
        self._writing = open_engine(self.address, write=True)

    def close(self) -> None:
        self._reading.dispose()
        self._writing.dispose()

    def claim(self, name: str, now_ns: int) -> Standing | None:
        """How the webhook stands; None: another collector sends. One that is new begins with what is noted from now on."""
        with self._transaction() as connection:
            newest = connection.execute(select(func.coalesce(func.max(notices.c.id), 0))).scalar_one()
            new = {
                "name": name,
                "standing": _to_json(Standing(newest)),
                "holder": self._holder,
                "held_until_ns": 0,
            }
            connection.execute(insert_new(connection.dialect.name, webhooks), new)
            free = (webhooks.c.holder == self._holder) | (webhooks.c.held_until_ns <= now_ns)
            mine = {"holder": self._holder, "held_until_ns": now_ns + LEASE_NS}
            claimed = connection.execute(update(webhooks).where(webhooks.c.name == name, free).values(mine))
            if not claimed.rowcount:
                return None
            wanted = select(webhooks.c.standing).where(webhooks.c.name == name)
            return _standing(connection.execute(wanted).scalar_one())

    def renew(self, name: str, now_ns: int) -> bool:
        """Hold on to what is held. False: it is not, any more."""
        with self._transaction() as connection:
            held = and_(
                webhooks.c.name == name,
                webhooks.c.holder == self._holder,
                webhooks.c.held_until_ns > now_ns,
            )
            longer = update(webhooks).where(held).values(held_until_ns=now_ns + LEASE_NS)
            return bool(connection.execute(longer).rowcount)

    def notices(self, standing: Standing) -> list[Notice]:
        """Those that are held, and the next ones, in the order of their numbers."""
        about = and_(
            faults.c.outbox == notices.c.outbox,
            faults.c.stream_no == notices.c.stream_no,
            faults.c.first_tick == notices.c.first_tick,
            faults.c.code == notices.c.code,
        )
        wanted = (
            select(notices, faults.c.id.label("fault"), faults.c.action, faults.c.peak)
            .join_from(notices, faults, about, isouter=True)
            .order_by(notices.c.id)
        )
        with explained(self.address), self._reading.begin() as connection:
            rows = connection.execute(wanted.where(notices.c.id > standing.done).limit(PAGE_NOTICES)).all()
            if standing.held:
                rows = [*connection.execute(wanted.where(notices.c.id.in_(standing.held))), *rows]
        return [_notice(row) for row in rows]

    def keep(self, name: str, standing: Standing, dead: DeadLetter | None, now_ns: int) -> bool:
        """How the webhook stands now. False: another collector has taken over, and nothing was written."""
        with self._transaction() as connection:
            mine = {"standing": _to_json(standing), "held_until_ns": now_ns + LEASE_NS}
            held = and_(webhooks.c.name == name, webhooks.c.holder == self._holder)
            if not connection.execute(update(webhooks).where(held).values(mine)).rowcount:
                return False
            if dead is not None:
                row = {key: value for key, value in asdict(dead).items() if key != "id"}
                newest = connection.execute(
                    insert(dead_letters).returning(dead_letters.c.id), row
                ).scalar_one()
                connection.execute(delete(dead_letters).where(dead_letters.c.id <= newest - DEAD_LETTERS_MAX))
            return True

    def release(self, name: str) -> None:
        """Somebody else may send at once."""
        with self._transaction() as connection:
            held = and_(webhooks.c.name == name, webhooks.c.holder == self._holder)
            connection.execute(update(webhooks).where(held).values(held_until_ns=0))

    def standings(self) -> dict[str, Standing]:
        """Of every webhook that was ever told something."""
        with explained(self.address), self._reading.begin() as connection:
            rows = connection.execute(select(webhooks).order_by(webhooks.c.name)).all()
        return {row.name: _standing(row.standing) for row in rows}

    def dead_letters(self) -> list[DeadLetter]:
        """Oldest first."""
        with explained(self.address), self._reading.begin() as connection:
            rows = connection.execute(select(dead_letters).order_by(dead_letters.c.id)).all()
        return [
            DeadLetter(row.webhook, row.delivery, bytes(row.body), row.why, row.at, row.id) for row in rows
        ]

    def forget(self, letter: int) -> None:
        """A dead letter that was delivered after all, or that nobody wants."""
        with self._transaction() as connection:
            connection.execute(
                delete(dead_letters).where(dead_letters.c.id == bindparam("letter")), {"letter": letter}
            )

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with explained(self.address), self._writing.begin() as connection:
            yield connection


def _notice(row: Any) -> Notice:
    return Notice(
        row.id, row.kind, times.from_text(row.at, 0), row.page, row.vin, row.code, row.severity, row.description,
        row.detected_at, row.ended_at, row.age_s, row.provisional, row.fault, row.action or "", row.peak,
    )  # fmt: skip


def _to_json(standing: Standing) -> str:
    return json.dumps(asdict(standing), separators=(",", ":"))


def _standing(text: str) -> Standing:
    known = json.loads(text)
    return Standing(**known | {"held": tuple(known["held"]), "sent_ns": tuple(known["sent_ns"])})
