"""A real PostgreSQL server for benchmarks and tests, and a real PgBouncer: in a folder of their own, on ports that are free."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

USER = "deadreckon"
WAIT_S = 60


def binaries() -> Path | None:
    """Where `initdb` is; Debian keeps it out of PATH. None: PostgreSQL is not installed."""
    beside = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return Path(beside).parent if beside else debian[-1].parent if debian else None


def missing(*, pooler: bool = False) -> str:
    """Why there can be no server here; empty: there can."""
    if binaries() is None:
        return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    if pooler and not _pgbouncer():
        return "PgBouncer is not installed (Debian: apt-get install pgbouncer)"
    if os.geteuid() == 0 and not _has_user("postgres"):
        return "PostgreSQL does not run as root, and there is no user postgres"
    return ""


def _pgbouncer() -> str:
    return shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin") or ""


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def missing_disk() -> str:
    """Why there can be no small disk; empty: there can."""
    found = shutil.which("unshare") and shutil.which("nsenter")
    if not found or subprocess.run([*_AS_ROOT, "true"], capture_output=True, check=False).returncode:
        return "this machine lets nobody mount a disk in a namespace of its own (unshare --mount)"
    return ""


_AS_ROOT = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]


class SmallDisk:
    """A file system in memory that only what runs `within` sees there; gone with the process that holds it."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        folder.mkdir()
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        of_owner = 'uid=$(stat -c %u "$0"),mode=700'
        script = f'mount -t tmpfs -o size="$1"m,{of_owner} none "$0" && echo ready && exec sleep infinity'
        self._holder = subprocess.Popen(
            [*_AS_ROOT, "sh", "-c", script, str(folder), str(megabytes)], stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        self.within = ["nsenter", "--target", str(self._holder.pid), "--mount"]
        if os.geteuid() != 0:  # PostgreSQL does not run as root, in whichever namespace
            self.within += ["--user", "--preserve-credentials", "unshare", "--user", "--map-user=1000"]
        self.seen = Path(f"/proc/{self._holder.pid}/root{folder}")  # from outside

    def fill(self) -> Path:
        """Until nothing more fits. What to delete for room."""
        ballast = self.seen / "ballast"
        with ballast.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)):
                        pass
        return ballast

    def close(self) -> None:
        self._holder.kill()
        self._holder.communicate()


class Server:
    """One cluster, gone at the end. Its user has no password on loopback. What it keeps must be `durable` where speed is measured.

    `megabytes`: of a disk of its own, which can be full.
    """

    def __init__(
        self, parent: Path | None = None, *, durable: bool = False, megabytes: int | None = None
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir=parent))
        self._durable = durable
        self.port = free_port()
        self._bin = binaries()
        self._bouncer: subprocess.Popen[bytes] | None = None
        self._made = 0
        self._free: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
        self.disk = None if megabytes is None else SmallDisk(self.data, megabytes)
        small = ["--wal-segsize=1"] if self.disk else []
        self._run(
            *("initdb", "-D", self.data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"),
            *small,
        )
        self.start()

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        # Tests kill its processes, not the machine.
        careless = "" if self._durable else " -c fsync=off -c full_page_writes=off"
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1{careless}"
        self._run("pg_ctl", "start", "-w", "-D", self.data, "-l", self.folder / "log", "-o", options)

    def stop(self, how: str = "immediate") -> None:
        """Immediate is as if it had crashed."""
        self._run("pg_ctl", "stop", "-w", "-m", how, "-D", self.data)

    def is_running(self) -> bool:
        try:
            self._run("pg_ctl", "status", "-D", self.data)
        except AssertionError:
            return False
        return True

    def reload(self) -> None:
        self._run("pg_ctl", "reload", "-D", self.data)

    def close(self) -> None:
        if self._bouncer is not None:
            self._bouncer.terminate()
            self._bouncer.wait()
        self.stop()
        if self.disk is not None:
            self.disk.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def database(self) -> str:
        """An empty one. Its URL."""
        if self._free:
            return self._free.pop()
        self._made += 1
        name = f"test_{self._made}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def take_back(self, url: str) -> None:
        """Empty it for whoever comes next: to make one copies 7 MB."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
            connection.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")  # as in a new database
        self._free.append(url)

    def url(self, name: str, port: int | None = None) -> str:
        return f"postgresql://{USER}@127.0.0.1:{port or self.port}/{name}"

    def pooled(self, url: str) -> str:
        """The same database through PgBouncer in transaction mode: every transaction may meet another connection."""
        port = free_port()
        settings = self.folder / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host=127.0.0.1 port={self.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {port}\nauth_type = any\npool_mode = transaction\nserver_round_robin = 1\n"
            f"default_pool_size = 5\nmin_pool_size = 3\nlogfile = {self.folder}/pgbouncer.log\nunix_socket_dir =\n"
        )
        settings.write_text(settings.read_text().replace("[databases]\n* =", f"[databases]\n* = user={USER}"))
        command = [_pgbouncer(), str(settings)]
        self._bouncer = subprocess.Popen(self._as_user(command), stderr=subprocess.DEVNULL)
        name = url.rpartition("/")[2]
        until = time.monotonic() + WAIT_S
        while True:
            try:
                psycopg.connect(self.url(name, port), connect_timeout=2).close()
            except psycopg.OperationalError:
                assert time.monotonic() < until, (self.folder / "pgbouncer.log").read_text()
                time.sleep(0.05)
            else:
                return self.url(name, port)

    def client(self, tool: str, *arguments: object) -> str:
        """psql, pg_dump and the like. What it printed."""
        return self._run(tool, *arguments)

    def _run(self, tool: str, *arguments: object) -> str:
        assert self._bin is not None
        found = shutil.which(tool, path=f"{self._bin}:{os.environ['PATH']}")
        command = self._as_user([found or tool, *map(str, arguments)])
        if self.disk is not None:
            command = [*self.disk.within, *command]
        # To a file: the server that pg_ctl starts inherits it and would hold a pipe open.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                command, cwd=self.folder, stdout=output, stderr=subprocess.STDOUT, check=False
            )
            output.seek(0)
            text = output.read().decode()
        assert done.returncode == 0, f"{tool}: {text}"
        return text

    @staticmethod
    def _as_user(command: list[str]) -> list[str]:
        """PostgreSQL and PgBouncer do not run as root."""
        return (
            ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
            if os.geteuid() == 0
            else command
        )
