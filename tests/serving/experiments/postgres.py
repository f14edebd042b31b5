"""A PostgreSQL server for tests, in a folder of its own, which can be killed and started again."""

import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import uuid

import psutil
import psycopg
import pytest

USER = "postgres"
PASSWORD = "one that is never shown"
STARTED_S = 120


def programs():
    """Return the folder of PostgreSQL's programs, None if there is none."""
    found = [pathlib.Path(path).resolve().parent for path in (shutil.which("initdb"),) if path]
    if shutil.which("pg_config"):
        told = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True)
        found.append(pathlib.Path(told.stdout.strip()))
    found += sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if (folder / "initdb").exists()), None)


class Postgres:
    """A server, durable as it is by default; at a socket without a password, and at a port of loopback with one."""

    def __init__(self):
        """Make its folder, and start it."""
        folder = programs()
        if folder is None:
            pytest.skip("needs PostgreSQL's programs: initdb and postgres")
        self.programs = folder
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lob_postgres_", dir="/tmp"))  # sockets have short paths
        self.data, self.log = self.folder / "data", self.folder / "log"
        self.how = {"cwd": self.folder, "stdin": subprocess.DEVNULL, "stdout": self.log.open("w"), "stderr": -2}
        if os.getuid() == 0:  # which PostgreSQL refuses to run as
            owner = pwd.getpwnam(USER)
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
            self.how |= {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        access = ["--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={secret}"]
        command = [str(folder / "initdb"), f"--pgdata={self.data}", f"--username={USER}", *access]
        done = subprocess.run([*command, "--encoding=UTF8", "--locale=C"], **self.how)
        assert done.returncode == 0, self.log.read_text()
        self.start()

    def start(self):
        """Start it; after `kill` it recovers what it had acknowledged."""
        set_to = {"unix_socket_directories": self.folder, "port": self.port, "listen_addresses": "127.0.0.1"}
        options = [f"--{key}={value}" for key, value in {**set_to, "shared_buffers": "16MB"}.items()]
        self.process = subprocess.Popen([str(self.programs / "postgres"), "-D", str(self.data), *options], **self.how)
        end = time.monotonic() + STARTED_S
        while not self._is_ready():
            assert self.process.poll() is None and time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)

    def kill(self):
        """Kill all its processes."""
        postmaster = psutil.Process(self.process.pid)
        postmaster.suspend()  # it would start others meanwhile
        for process in [*postmaster.children(recursive=True), postmaster]:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self.process.wait()

    def remove(self):
        """End it, and remove its folder."""
        if self.process.poll() is None:
            self.kill()  # in order, it would write all its files to disk first
        self.how["stdout"].close()
        shutil.rmtree(self.folder)

    def database(self):
        """Make room for tables; return its URL.

        This is a schema of the one database, which takes less time than a database.
        """
        name = f"test_{uuid.uuid4().hex[:12]}"
        with self.connection() as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"{self.url(USER)}&options=-csearch_path%3D{name}"

    def url(self, name):
        """Return the URL of a database, at the socket."""
        return f"postgresql+psycopg://{USER}@/{name}?host={self.folder}&port={self.port}"

    def connection(self):
        """Return a connection, without transactions."""
        return psycopg.connect(host=str(self.folder), port=self.port, user=USER, autocommit=True)

    def _is_ready(self):
        """Return whether the new server, and no older one, takes connections."""
        file = self.data / "postmaster.pid"
        lines = file.read_text().split("\n") if file.exists() else []
        return lines[:1] == [str(self.process.pid)] and any(line.strip() == "ready" for line in lines[1:])


@pytest.fixture(scope="session")
def postgres():
    """Return a server; skip the test, naming what it needs, where there is no PostgreSQL."""
    server = Postgres()
    yield server
    server.remove()
