"""Database servers of the tests' own that speak TLS, on a free port of this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.support.databases import free_port


@dataclass(frozen=True)
class TlsServer:
    """A server that is up, and the certificate of who vouches for it."""

    port: int
    authority: str


def _binary(name: str) -> str | None:
    """Return a server's binary, also where Debian keeps it off the PATH."""
    kept = [*sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), *Path("/usr/sbin").glob(name)]
    return shutil.which(name) or next(map(str, kept), None)


@contextlib.contextmanager
def postgres_with_tls() -> Iterator[TlsServer | None]:
    """Start a PostgreSQL that has a certificate for 127.0.0.1; None where there are no binaries of it."""
    initdb, postgres = _binary("initdb"), _binary("postgres")
    if initdb is None or postgres is None:
        yield None
        return
    with _folder("postgres") as folder:
        data = folder / "data"
        _run([initdb, "-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync"], user="postgres")
        port = free_port()
        settings = {
            "port": port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(folder),
            "fsync": "off",
            "ssl": "on",
            "ssl_cert_file": folder / "server.pem",
            "ssl_key_file": folder / "server.key",
        }
        command = [postgres, "-D", str(data), *(f"--{name}={value}" for name, value in settings.items())]
        with _running(command, port, user="postgres"):
            yield TlsServer(port, str(folder / "authority.pem"))


@contextlib.contextmanager
def mariadb_with_tls() -> Iterator[TlsServer | None]:
    """Start a MariaDB that has a certificate for 127.0.0.1; None where there are no binaries of it."""
    install, mariadbd = _binary("mariadb-install-db"), _binary("mariadbd")
    if install is None or mariadbd is None:
        yield None
        return
    with _folder("mysql") as folder:
        data = folder / "data"
        common = ["--no-defaults", f"--datadir={data}"]
        _run([install, *common, "--auth-root-authentication-method=normal", "--skip-test-db"], user="mysql")
        port = free_port()
        command = [
            mariadbd, *common, f"--port={port}", "--bind-address=127.0.0.1", f"--socket={folder}/socket",
            f"--pid-file={folder}/pid", f"--ssl-cert={folder}/server.pem", f"--ssl-key={folder}/server.key",
            "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M",
        ]  # fmt: skip
        with _running(command, port, user="mysql"):
            yield TlsServer(port, str(folder / "authority.pem"))


@contextlib.contextmanager
def _folder(user: str) -> Iterator[Path]:
    """Make a folder with a certificate in it, for a user under whom a server may run."""
    folder = Path(tempfile.mkdtemp(prefix="vambe-tls-"))
    try:
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1")
        authority.cert_pem.write_to_path(folder / "authority.pem")
        certificate.cert_chain_pems[0].write_to_path(folder / "server.pem")
        certificate.private_key_pem.write_to_path(folder / "server.key")
        (folder / "server.key").chmod(0o600)
        if os.getuid() == 0:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, user)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_user(user: str) -> dict[str, str]:
    # Neither server runs as root.
    return {"user": user, "cwd": "/"} if os.getuid() == 0 else {}


def _run(command: list[str], *, user: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=120, **_as_user(user))  # type: ignore[call-overload]


@contextlib.contextmanager
def _running(command: list[str], port: int, *, user: str) -> Iterator[None]:
    process = subprocess.Popen(  # type: ignore[call-overload]
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **_as_user(user)
    )
    try:
        for _ in range(600):
            if process.poll() is not None or _answers(port):
                break
            time.sleep(0.1)
        assert process.poll() is None, "the server ended"
        yield
    finally:
        process.send_signal(
            signal.SIGINT if user == "postgres" else signal.SIGTERM
        )  # PostgreSQL would wait for clients
        process.wait(60)


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
