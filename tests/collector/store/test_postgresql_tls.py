"""TLS to a real server: who it is said to be is who it is, or nothing is sent."""

from __future__ import annotations

import shutil
import subprocess

import psycopg
import pytest

from benchmarks import postgresql
from collector.items import Position, Stored
from collector.store import StoreError, StoreUnavailable, open_store
from collector.store.ledger import StoreLedger
from tests.collector.vehicle import Bench, Vehicle, stored, within_bounds


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
    assert within_bounds(vehicle.sampled, stored(bench, vehicle))
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
