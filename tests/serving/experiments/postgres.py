"""A PostgreSQL server for tests, in a folder of its own, which can be killed and started again."""

import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid

import psutil
import psycopg
import pytest

USER = "postgres"
PASSWORD = "one that is never shown"
STARTED_S = 60


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
        self.as_user = []
        if os.getuid() == 0:  # which PostgreSQL refuses to run as
            owner = pwd.getpwnam(USER)
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
            self.as_user = ["runuser", "-u", USER, "--"]
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        how = ["--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--locale=C"]
        self._run("initdb", f"--pgdata={self.folder / 'data'}", f"--username={USER}", *how)
        self.start()

    def start(self):
        """Start it; after `kill` it recovers what it had acknowledged."""
        options = f"-k {self.folder} -p {self.port} -c listen_addresses=127.0.0.1 -c shared_buffers=16MB"
        log = f"--log={self.folder / 'log'}"
        self._run("pg_ctl", "start", "--wait", f"--timeout={STARTED_S}", log, f"--options={options}", *self._data)

    def stop(self):
        """Stop it in order, without waiting for its clients."""
        self._run("pg_ctl", "stop", "--mode=fast", "--wait", *self._data)

    def kill(self):
        """Kill all its processes."""
        postmaster = psutil.Process(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]))
        postmaster.suspend()  # it would start others meanwhile
        processes = [*postmaster.children(recursive=True), postmaster]
        for process in processes:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(processes, timeout=STARTED_S)

    def remove(self):
        """Stop it, and remove its folder."""
        if (self.folder / "data" / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.folder)

    def database(self):
        """Make a new database; return its URL."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(host=str(self.folder), port=self.port, user=USER, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, name):
        """Return the URL of a database, at the socket."""
        return f"postgresql+psycopg://{USER}@/{name}?host={self.folder}&port={self.port}"

    @property
    def _data(self):
        return [f"--pgdata={self.folder / 'data'}"]

    def _run(self, program, *arguments):
        command = [*self.as_user, str(self.programs / program), *arguments]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        if program == "pg_ctl":  # the server keeps its outputs, and a pipe would not end
            quiet["stderr"] = subprocess.DEVNULL
        done = subprocess.run(command, text=True, cwd="/", **quiet)
        if done.returncode:
            log = self.folder / "log"
            raise RuntimeError(f"{program}: {done.stderr or ''}\n{log.read_text() if log.exists() else ''}")


@pytest.fixture(scope="session")
def postgres():
    """Return a server; skip the test, naming what it needs, where there is no PostgreSQL."""
    server = Postgres()
    yield server
    server.remove()
