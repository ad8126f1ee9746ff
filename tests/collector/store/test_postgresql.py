"""What only a server can do to a store: be away, restart, be full, be older or newer, be shared."""

from __future__ import annotations

import queue
import shutil
import subprocess
import threading

import psycopg
import pytest

from benchmarks import postgresql
from collector.ingest.ingest import Ingest
from collector.items import Farewell, Forked, Position, Repeated, Stored, Welcomed
from collector.store import StoreBusy, StoreError, StoreUnavailable, address_of, open_store
from collector.store.engine import bring_up_to_date, explained, open_engine
from collector.store.ledger import StoreLedger
from collector.store.tables import SCHEMA_VERSION
from collector.writer import Writer
from tests.collector.ingest.test_materialised import minutes, of_the_stored_records
from tests.collector.test_writer import Agent, deliver
from tests.collector.vehicle import NOW_NS, RULES, Bench, Vehicle, within_bounds

LONG_S = 60
NOW = "2026-01-01T00:00:00.000Z"


@pytest.fixture
def url(postgres):
    name = postgres.database()
    yield name
    postgres.take_back(name)


@pytest.fixture
def where(url):
    return url


@pytest.fixture(scope="module")
def own():
    """A server that tests may stop."""
    why_not = postgresql.missing()
    if why_not:
        pytest.skip(why_not)
    server = postgresql.Server()
    yield server
    server.close()


def execute(url, statement):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def stored(url):
    return [(run.facts.stream_no, run.records) for run in open_store(url).runs("asset:one")]


def test_a_reader_makes_nothing_and_changes_nothing(url):
    with pytest.raises(StoreError, match="is empty"):
        open_store(url)
    StoreLedger(url)
    store = open_store(url)
    with (
        pytest.raises(StoreBusy, match="read-only"),
        explained(store.address),
        store._engine.begin() as connection,
    ):
        connection.exec_driver_sql("DELETE FROM batches")


@pytest.mark.parametrize("write", [True, False])
def test_a_database_that_is_somebody_else_s_is_left_alone(url, write):
    execute(url, "CREATE TABLE mine (x int)")
    with pytest.raises(StoreError, match="no collector's store"):
        open_engine(address_of(url), write=write)


def test_a_store_of_a_newer_collector_is_refused_and_an_older_one_says_what_to_run(url):
    StoreLedger(url)
    execute(url, f"UPDATE alembic_version SET version_num = '{SCHEMA_VERSION + 1:04d}'")
    with pytest.raises(StoreError, match="made by a newer collector"):
        StoreLedger(url)
    execute(url, "UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(StoreError, match="run `collector schema upgrade`"):
        StoreLedger(url)
    with pytest.raises(StoreError, match="made by an older collector"):
        open_store(url)


def test_several_processes_that_start_at_once_make_one_schema(url):
    engines = [open_or_error(url) for _ in range(4)]
    for one in engines:
        one.start()
    for one in engines:
        one.join(LONG_S)
    assert open_store(url).vehicles() == []
    engine = open_engine(address_of(url), write=True)
    assert bring_up_to_date(engine, address_of(url)) == SCHEMA_VERSION


def open_or_error(url):
    return threading.Thread(target=lambda: StoreLedger(url).close())


def test_what_is_wrong_with_an_address_ends_a_start_and_what_passes_does_not(postgres, url):
    with pytest.raises(StoreError, match="createdb") as caught:
        StoreLedger(postgres.url("nowhere"))
    assert not isinstance(caught.value, StoreUnavailable)
    with pytest.raises(StoreError, match="TLS") as caught:
        StoreLedger(f"{url}?sslmode=require")
    assert not isinstance(caught.value, StoreUnavailable)
    with pytest.raises(StoreBusy, match="refused"):
        StoreLedger(postgres.url("test", port=postgresql.free_port()))


def test_a_server_that_does_not_wait_for_its_disk_is_refused(postgres):
    url = postgres.database()  # and nobody else's
    name = url.rpartition("/")[2]
    execute(url, f"ALTER DATABASE {name} SET synchronous_commit = off")
    with pytest.raises(StoreError, match="synchronous_commit is off"):
        StoreLedger(url)


def test_a_role_without_rights_is_told_so(postgres, url):
    StoreLedger(url)
    execute(url, "CREATE ROLE guest LOGIN")
    guest = url.replace(f"{postgresql.USER}@", "guest@")
    with pytest.raises(StoreError, match="may its role do that"):
        open_store(guest).vehicles()


def test_what_postgresql_cannot_hold_costs_nothing_but_itself(bench, connected):
    bench.take(connected.greeting.__class__(connected.key, (), "T\0", "1\0", "x"))
    assert isinstance(bench.take(connected.drive()), Stored)
    (vehicle,) = open_store(bench.path).vehicles()
    assert vehicle["model"] == "T\N{REPLACEMENT CHARACTER}"


def test_two_writers_at_once_store_each_block_once(bench, connected):
    other = Bench(bench.path)
    blocks = [connected.drive() for _ in range(6)]
    other.take(blocks[0])
    for block in blocks:
        for one in (bench, other):
            try:
                one.take(block)
            except StoreBusy:
                one.take(block)
    assert within_bounds(connected.sampled, stored(bench.path))
    other.ledger.close()


def test_two_transactions_at_once_wait_for_each_other_and_the_second_begins_again(bench, connected):
    """Each has written blocks before its end, as a group with reads in it does."""
    other = Bench(bench.path)
    other.take(connected.schema)  # knows the outbox as it is
    block = connected.drive()
    with bench.ledger.transaction() as first:
        assert isinstance(bench.ingest.apply(first, [block], NOW_NS)[0], Stored)
        first.finish(NOW)
        with pytest.raises(StoreBusy):
            apply_and_read(other, block)
    bench.ingest.committed({1})
    other.ingest.forget()
    assert other.take(block) == Repeated(Position(0, 0))
    assert within_bounds(connected.sampled, stored(bench.path))
    other.ledger.close()


def apply_and_read(bench, block, then=lambda: None):
    with bench.ledger.transaction() as transaction:
        bench.ingest.apply(transaction, [block], NOW_NS)
        transaction.block(1, 0, 0)  # writes what was collected so far
        then()
        transaction.finish(NOW)


def test_a_server_that_restarts_in_the_middle_of_a_transaction_takes_nothing_of_it(own):
    bench, vehicle = Bench(own.database()), Vehicle()
    bench.take(vehicle.greeting, vehicle.schema, vehicle.run(), vehicle.drive())
    block = vehicle.drive()
    with pytest.raises(StoreUnavailable):
        apply_and_read(bench, block, then=lambda: (own.stop(), own.start()))
    bench.ingest.forget()
    assert len(stored(bench.path)) == 1
    assert bench.take(block) == Stored(Position(0, 1))
    assert within_bounds(vehicle.sampled, stored(bench.path))
    bench.ledger.close()


def test_a_server_that_is_away_is_waited_for_and_nothing_is_lost(own):
    url, vehicle = own.database(), Vehicle()
    writer = Writer(StoreLedger(url), Ingest(RULES), deliver, lambda: NOW_NS)
    writer.start()
    agent = Agent(writer)
    agent.submit(vehicle.greeting, vehicle.schema, vehicle.run(), vehicle.drive())
    assert isinstance(agent.hears(), Welcomed)
    assert [agent.hears() for _ in range(3)][-1] == Stored(Position(0, 0))
    own.stop()
    agent.submit(*(vehicle.drive() for _ in range(5)))
    with pytest.raises(queue.Empty):
        agent._outcomes.get(timeout=0.5)
    own.start()
    assert [agent.hears() for _ in range(5)] == [Stored(Position(0, seq)) for seq in range(1, 6)]
    assert writer.stop(LONG_S)
    assert within_bounds(vehicle.sampled, stored(url))


@pytest.fixture
def small():
    """A server on a disk that can be full."""
    why_not = postgresql.missing() or postgresql.missing_disk()
    if why_not:
        pytest.skip(why_not)
    server = postgresql.Server(megabytes=64)
    yield server
    if not server.is_running():
        server.start()
    server.close()


def while_there_is_room(agent, vehicle):
    """What is told of blocks that are sent, up to one of which nothing is told."""
    for _ in range(1000):
        agent.submit(vehicle.drive(2000))
        try:
            yield agent._outcomes.get(timeout=2.0)
        except queue.Empty:
            return


def test_a_server_whose_disk_is_full_is_waited_for_and_nothing_is_lost(small):
    """Rows and write-ahead log alike: the server may say so, or fall over and not get up before there is room."""
    url, vehicle = small.database(), Vehicle()
    writer = Writer(StoreLedger(url), Ingest(RULES), deliver, lambda: NOW_NS)
    writer.start()
    agent = Agent(writer)
    agent.submit(vehicle.greeting, vehicle.schema, vehicle.run(), vehicle.drive(2000))
    assert [agent.hears() for _ in range(4)][-1] == Stored(Position(0, 0))
    ballast = small.disk.fill()
    heard = 1 + len(list(while_there_is_room(agent, vehicle)))
    agent.submit(*(vehicle.drive(2000) for _ in range(5)))
    assert agent.hears_nothing_yet()
    assert "No space left on device" in (small.folder / "log").read_text()
    ballast.unlink()
    if not small.is_running():
        small.start()
    assert [agent.hears() for _ in range(6)] == [Stored(Position(0, heard + at)) for at in range(6)]
    assert writer.stop(LONG_S)
    assert within_bounds(vehicle.sampled, stored(url))


def test_a_farewell_to_a_process_that_was_overtaken_spoils_no_minute(bench, connected):
    other = Bench(bench.path)
    bench.take(connected.drive(100))
    other.take(connected.drive(500), Farewell(connected.key, "offline"))
    late = Farewell(connected.key, "offline")
    with pytest.raises(StoreBusy):
        bench.take(late)
    bench.take(late)
    assert minutes(bench) == of_the_stored_records(bench)
    other.ledger.close()


def test_a_stream_that_two_clones_describe_at_once_in_two_processes_is_one_of_them(bench, vehicle):
    clone, other = Vehicle(), Bench(bench.path)
    bench.take(vehicle.greeting, vehicle.schema)
    other.take(clone.greeting)
    described = clone.run(stream_id=2)

    def at_once():
        with other.ledger.transaction() as transaction:
            other.ingest.apply(transaction, [described], NOW_NS)
            bench.take(vehicle.run(stream_id=1))
            transaction.finish("2027-01-15T08:00:00.000Z")

    with pytest.raises(StoreBusy):
        at_once()
    other.ingest.forget()
    assert other.take(described) == Forked()
    other.ledger.close()


def test_a_connection_that_was_cut_is_made_again(bench, connected):
    bench.take(connected.drive())
    store = open_store(bench.path)
    store.vehicles()
    execute(
        bench.path,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
        "AND datname = current_database()",
    )
    assert len(store.vehicles()) == 1  # a reader does not even notice
    block = connected.drive()
    with pytest.raises(StoreUnavailable):
        bench.take(block)
    assert bench.take(block) == Stored(Position(0, 1))


def test_everything_goes_through_a_transaction_pooler(postgres, url):
    why_not = postgresql.missing(pooler=True)
    if why_not:
        pytest.skip(why_not)
    bench, vehicle = Bench(postgres.pooled(url)), Vehicle()
    bench.take(vehicle.greeting, vehicle.schema, vehicle.run())
    for number in range(12):  # psycopg would prepare what it runs for the sixth time
        bench.take(vehicle.drive(temp=46.0 if number % 2 else 20.0), vehicle.greeting)
        assert open_store(bench.path).vehicles()[0]["batches"] == number + 1
    assert within_bounds(vehicle.sampled, stored(bench.path))
    assert len(open_store(bench.path).faults()) > 1
    bench.ledger.close()


# TLS


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def authority(folder, name):
    """A CA of our own: its certificate."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *new, "-keyout", key, "-out", certificate, "-subj", f"/CN={name}", "-days", 2)
    return certificate


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    """A server that lets nobody in without TLS, and the CA that signed its certificate, which is for localhost."""
    why_not = postgresql.missing() or ("" if shutil.which("openssl") else "openssl is not installed")
    if why_not:
        pytest.skip(why_not)
    folder = tmp_path_factory.mktemp("tls")
    ca, server = authority(folder, "fleet"), postgresql.Server()
    key, request, certificate = (server.data / f"server.{kind}" for kind in ("key", "csr", "crt"))
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", *new, "-keyout", key, "-out", request, "-subj", "/CN=localhost")
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    signed = ["-CA", ca, "-CAkey", folder / "fleet.key", "-CAcreateserial", "-extfile", folder / "names"]
    openssl("x509", "-req", "-in", request, *signed, "-out", certificate, "-days", 2)
    key.chmod(0o600)
    for file in (key, certificate):
        shutil.chown(file, server.data.owner())
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET ssl = on")
    url = server.database().replace("127.0.0.1", "localhost")
    rules = server.data / "pg_hba.conf"
    rules.write_text("hostssl all all 127.0.0.1/32 trust\nhostssl all all ::1/128 trust\n")
    server.stop("fast")
    server.start()
    yield url, ca
    server.close()


def test_everything_goes_by_tls_to_a_server_that_is_who_it_says(secured):
    url, ca = secured
    bench, vehicle = Bench(f"{url}?sslmode=verify-full&sslrootcert={ca}"), Vehicle()
    bench.take(vehicle.greeting, vehicle.schema, vehicle.run(), vehicle.drive())
    assert bench.take(vehicle.drive(temp=46.0)) == Stored(Position(0, 1))
    assert within_bounds(vehicle.sampled, stored(bench.path))
    with bench.ledger.transaction() as transaction:
        of_mine = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert transaction._connection.exec_driver_sql(of_mine).one() == (True, "TLSv1.3")
        everybody = (
            "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE client_port > 0"
        )
        assert transaction._connection.exec_driver_sql(everybody).scalar_one()
    bench.ledger.close()


def refused(address):
    """What both sides are told; not that it may pass."""
    told = []
    for use in (StoreLedger, open_store):
        with pytest.raises(StoreError) as caught:
            use(address)
        assert not isinstance(caught.value, StoreUnavailable)
        told.append(str(caught.value))
    assert told[0] == told[1]
    return told[0]


def test_a_server_that_somebody_else_vouches_for_is_refused(secured, tmp_path):
    url, _ = secured
    said = refused(f"{url}?sslmode=verify-full&sslrootcert={authority(tmp_path, 'stranger')}")
    assert "certificate verify failed" in said
    assert "sslrootcert names the file" in said


def test_a_server_of_another_name_is_refused(secured):
    url, ca = secured
    said = refused(f"{url.replace('localhost', '127.0.0.1')}?sslmode=verify-full&sslrootcert={ca}")
    assert "does not match host name" in said
    assert said.endswith("name the server as its certificate does")


def test_a_server_that_demands_tls_takes_no_plain_connection_and_the_message_says_what_to_do(secured):
    url, _ = secured
    assert "the server demands TLS: ?sslmode=verify-full" in refused(f"{url}?sslmode=disable")
