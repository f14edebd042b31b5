"""launch/serve/nginx.conf is accepted by nginx, and sends each request to the process that it belongs to.

What needs nginx is skipped where there is none. The processes behind it are fakes, which say which of the two they are.
"""

import asyncio
import collections
import contextlib
import functools
import pathlib
import re
import shutil
import subprocess
from collections.abc import AsyncIterator

import pytest

from tests.serving.deploy.test_serve_script import free_ports

ROOT = pathlib.Path(__file__).resolve().parents[3]
TEXT = (ROOT / "launch/serve/nginx.conf").read_text()
AROUND = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error warn;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  include {folder}/site;
}}
"""


def find_nginx() -> str:
    found = shutil.which("nginx")
    if found is None:
        pytest.skip("needs nginx")
    return found


def configured(folder: pathlib.Path, text: str, port: int) -> pathlib.Path:
    """Write a configuration whose balancer listens on a port, its processes on the next two."""
    for old, new in (("listen 8080", port), (":8000", port + 1), (":8001", port + 2)):
        word = re.match(r"[a-z :]*", old)
        assert word is not None and old in text
        text = text.replace(old, f"{word[0]}{'127.0.0.1:' if 'listen' in old else ''}{new}")
    (folder / "site").write_text(text)
    (folder / "conf").write_text(AROUND.format(folder=folder))
    return folder / "conf"


def checked(folder: pathlib.Path, text: str) -> subprocess.CompletedProcess:
    conf = configured(folder, text, 18_080)
    return subprocess.run([find_nginx(), "-t", "-c", str(conf)], text=True, capture_output=True, timeout=60)


def test_nginx_accepts_it(tmp_path):
    done = checked(tmp_path, TEXT)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


def test_nginx_sees_a_mistake(tmp_path):
    done = checked(tmp_path, TEXT.replace("proxy_buffering off", "proxy_buffers off"))
    assert done.returncode != 0 and "proxy_buffers" in done.stderr


def test_braces_and_semicolons_where_there_is_no_nginx():
    """No parser of nginx: blocks are closed, every other line ends a directive, both pools have the same processes."""
    lines = [line.partition("#")[0].strip() for line in TEXT.splitlines()]
    assert TEXT.count("{") == TEXT.count("}")
    assert [line for line in lines if line and line[-1] not in ";{}"] == []
    pools = re.findall(r"upstream (\w+) \{(.*?)\}", TEXT, re.DOTALL)
    ports = [re.findall(r"server 127\.0\.0\.1:(\d+)", inside) for _, inside in pools]
    assert [name for name, _ in pools] == ["lob_jax_any", "lob_jax_by_session"]
    assert ports[0] == ports[1] == ["8000", "8001"]


Headers = dict[str, str]


async def answer(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests on a connection with the name and the request's head; an answer to /stream never ends."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            if "upgrade: websocket" in head.lower():
                writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                writer.write(b"echo " + await reader.readexactly(4))
                await writer.drain()
                break
            body = f"{name}\n{head}".encode()
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(body), body))
            await writer.drain()
            if " /stream " in head:
                await reader.read()  # until the balancer hangs up
            writer.write(b"0\r\n\r\n")
    await closed(writer)


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def balanced(folder: pathlib.Path) -> AsyncIterator[tuple[int, list[asyncio.Server]]]:
    """Run two fakes, "first" and "second", and nginx in front of them; yield its port, and the fakes."""
    nginx, port = find_nginx(), free_ports(3)
    conf = configured(folder, TEXT, port)
    fakes, handlers = [], set()

    def accept(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(answer(name, reader, writer))
        handlers.add(task)
        task.add_done_callback(handlers.discard)

    for k, name in enumerate(("first", "second"), start=1):
        fakes.append(await asyncio.start_server(functools.partial(accept, name), "127.0.0.1", port + k))
    process = await asyncio.create_subprocess_exec(nginx, "-c", str(conf), stderr=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                await closed(writer)
                break
            assert process.returncode is None, (folder / "error").read_text()
            await asyncio.sleep(0.02)
        yield port, fakes
    finally:
        process.terminate()
        await process.wait()
        for fake in fakes:
            fake.close()
        while handlers:  # they end when the balancer has hung up
            await asyncio.gather(*handlers)


async def ask(
    port: int, path: str, headers: Headers | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "h", **(headers or {})}.items())
    writer.write(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
    await writer.drain()
    return reader, writer


async def asked(port: int, path: str, headers: Headers | None = None) -> str:
    reader, writer = await ask(port, path, {"Connection": "close", **(headers or {})})
    text = (await reader.read()).decode()
    await closed(writer)
    return text


def who(text: str) -> str:
    found = re.search(r"^(first|second)\r?$", text, re.MULTILINE)
    assert found, text
    return found[1]


def run(test, folder: pathlib.Path):
    """Run a coroutine with the balancer's port and the fakes, for a minute at most."""

    async def inside():
        async with asyncio.timeout(60), balanced(folder) as (port, fakes):
            await test(port, fakes)

    asyncio.run(inside())


def test_requests_with_a_value_of_the_header_go_to_one_process(tmp_path):
    async def test(port, _):
        answers = collections.defaultdict(set)
        for turn in range(3):
            for k in range(21):  # odd: taking turns is not keeping a place
                path = ("/v1/sessions", f"/v1/sessions/{k}/events", "/v1/predict")[turn]
                answers[k].add(who(await asked(port, path, {"X-Session-Affinity": f"a{k}"})))
        assert all(len(one) == 1 for one in answers.values())
        assert set.union(*answers.values()) == {"first", "second"}

    run(test, tmp_path)


def test_requests_without_it_go_to_the_process_with_fewer_connections(tmp_path):
    async def test(port, _):
        reader, writer = await ask(port, "/stream")
        busy = ""
        while busy not in ("first", "second"):
            busy = (await reader.readline()).decode().strip()
        others = {who(await asked(port, "/v1/predict")) for _ in range(6)}
        assert others == {"first", "second"} - {busy}
        await closed(writer)

    run(test, tmp_path)


def test_the_first_part_of_a_stream_comes_before_the_second(tmp_path):
    """The fake never sends the second: a balancer that waited for it would pass on nothing."""

    async def test(port, _):
        reader, writer = await ask(port, "/stream")
        await reader.readuntil(b"GET /stream")
        await closed(writer)

    run(test, tmp_path)


def test_a_websocket_is_passed_on(tmp_path):
    async def test(port, _):
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "X-Session-Affinity": "a"}
        reader, writer = await ask(port, "/v1/sessions/1/live", upgrade)
        assert b"101" in await reader.readuntil(b"\r\n\r\n")
        writer.write(b"ping")
        assert await reader.readexactly(9) == b"echo ping"
        await closed(writer)

    run(test, tmp_path)


def test_what_belongs_to_one_process_is_not_passed_on(tmp_path):
    async def test(port, _):
        for path in ("/metrics", "/health/ready"):
            assert "404" in (await asked(port, path)).splitlines()[0]

    run(test, tmp_path)


def test_a_client_does_not_choose_its_address(tmp_path):
    async def test(port, _):
        head = await asked(port, "/", {"X-Forwarded-For": "1.2.3.4"})
        assert re.findall(r"X-Forwarded-For: (.*?)\r", head) == ["127.0.0.1"]

    run(test, tmp_path)


def test_when_a_process_has_gone_the_other_answers_what_needs_no_session(tmp_path):
    async def test(port, fakes):
        fakes[0].close()
        await fakes[0].wait_closed()
        assert {who(await asked(port, "/v1/predict")) for _ in range(6)} == {"second"}

    run(test, tmp_path)
