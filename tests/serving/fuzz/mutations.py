"""Valid requests, and what a seed makes of them: changed documents, changed bytes, changed heads."""

import copy
import dataclasses
import json
import random
from typing import Any

MODEL = "stub"
BOOK = {"time": "2012-06-21T13:30:00Z", "bids": [["585.33", 18], ["585.30", 100]], "asks": [["585.40", 40]]}
ADD = {"time": 1_340_285_400_000_000_001, "kind": "add", "side": "bid", "price": "585.31", "size": 100, "order_id": 7}
EVENTS = [
    ADD,
    {"time": "2012-06-21T13:30:01.5Z", "kind": "execute", "side": "ask", "price": 585.4, "size": "40"},
    {"kind": "level", "side": "bid", "price": "585.30", "size": 50},
    {"time": "2012-06-21T13:30:02Z", "kind": "control", "code": "halt"},
]
HISTORY = {"history": {"opening": BOOK, "events": EVENTS}}
TENSOR = {"name": "tokens", "shape": [1, 3], "datatype": "INT32", "data": [1, 2, 3]}
BESIDE = {"name": "book", "shape": [1, 3, 4], "datatype": "FP32", "data": [[[0.5] * 4] * 3]}

EXPERIMENT = {
    "name": "fuzz", "design": "split",
    "arms": [{"name": "a", "model": MODEL}, {"name": "b", "model": MODEL, "weight": 2}],
    "salt": "salt", "created_s": 1e9, "block": 20, "gap": 5, "clip_nats": 1.5, "alpha": 0.05,
    "ramp": [{"after_s": 0, "share": 0.5}], "guards": {"latency_s": 0.5, "slow": 0.1},
}  # fmt: skip


@dataclasses.dataclass
class Sent:
    """A request, before it is bytes.

    Attributes:
      method: the method.
      path: the path, as it is sent.
      headers: the headers in order, without those of the body's length.
      body: the body, None for none.
      framing: how the body is sent: "length", "chunked", "short" (less than was announced), "long", "torn" (an invalid
        chunk), "both" (two contradicting lengths).
      what: what was changed, for the report of a fault.
    """

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes | None = None
    framing: str = "length"
    what: str = ""

    @property
    def broken(self) -> bool:
        """Whether it is no complete HTTP request, to which a server may close the connection without an answer."""
        return self.framing in ("short", "torn", "both", "long") or "head" in self.what


@dataclasses.dataclass(frozen=True)
class Literal:
    """Text that is written into a document as it is."""

    text: str


class Pairs(list):
    """The pairs of an object, in which a key may come twice."""


def documents(session: str) -> list[tuple[str, str, Any]]:
    """Return method, path and body of valid requests."""
    sampled = {"paths": 2, "events": 3, "seed": 1, "temperature": 0.9, "top_k": 5, "top_p": 0.9, "min_p": 0.01}
    moves = {"paths": 2, "events": 3, "seed": 0}
    market = {"session": session}
    return [
        ("POST", "/v1/predict", {**HISTORY, "heads": 1, "most": 5, "moves": moves, "model": MODEL, "deadline_s": 5}),
        ("POST", "/v1/predict", market),
        ("POST", "/v1/generate", {**HISTORY, **sampled, "limit_sizes": True, "stream": False}),
        ("POST", "/v1/generate", {**market, **sampled, "stream": True}),
        ("POST", "/v1/forecast", {**HISTORY, **sampled, "by": "seconds", "until": 2.5, "quantiles": [0.1, 0.5]}),
        ("POST", "/v1/score", HISTORY),
        ("POST", "/v1/sessions", HISTORY),
        ("POST", "/v1/sessions", {**HISTORY, "experiment": "test", "unit": "u"}),
        ("POST", "/v1/outcomes", {"session": session, "outcome": "first", "events": EVENTS}),
        ("POST", "/v1/experiments", EXPERIMENT),
        ("POST", "/v1/experiments/test/decisions", {"decision": "keep", "because": "it is too early"}),
        ("GET", "/v1/experiments", None),
        ("GET", "/v1/experiments/test", None),
        ("POST", f"/v1/sessions/{session}/events", {"events": EVENTS}),
        ("GET", f"/v1/sessions/{session}", None),
        ("DELETE", "/v1/sessions/stub~none", None),
        ("GET", "/v1/models", None),
        ("GET", f"/v1/models/{MODEL}", None),
        ("POST", f"/v2/models/{MODEL}/infer", {"id": "1", "inputs": [TENSOR, BESIDE], "outputs": [{"name": "logits"}]}),
        ("GET", f"/v2/models/{MODEL}/ready", None),
        ("GET", "/problems/invalid-request", None),
        ("GET", "/metrics", None),
        ("GET", "/openapi.json", None),
        ("GET", "/health/ready", None),
    ]


def messages() -> list[Any]:
    """Return valid messages of a session's socket."""
    return [
        {"id": "a", "events": EVENTS},
        {"id": "b", "predict": {"heads": 1, "most": 2}},
        {"id": 3, "generate": {"paths": 1, "events": 5, "seed": 1}},
    ]


ODD = [
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 2**64, 10**30, 0.0, -0.0, 1e-320, 1e308, 0.5, "", " ", "0",
    "-1", "NaN", "1e5", "٣", "1.", ".5", "+1", "1_000", "0x10", "1" * 100, "a" * 5000, "\x00", "\ud83d\ude00",
    "\u202e", "' OR 1=1 --", "../../etc/passwd", "<script>", "%s%n{0}", "2012-06-21T13:30:60Z",
    "2012-02-30T00:00:00Z", "9999-12-31T23:59:59Z", "1969-12-31T23:59:59Z", "2012-06-21T13:30:00+99:99", [], {}, [[]],
    [None] * 50, {"a": {"b": {}}}, {"": 0}, "bid", "add", "level", "control", "clear", "stub", "stub~", "~",
    Literal("NaN"), Literal("Infinity"), Literal("-Infinity"), Literal("1e400"), Literal("-1e999999999"),
    Literal("1" * 5000), Literal("01"), Literal("0." + "3" * 100), Literal('"\\ud800"'),
    Literal("[" * 3000 + "]" * 3000), Literal("[" * 100_000), Literal('{"a":' * 50 + "1" + "}" * 50), Literal("'a'"),
    Literal("undefined"), Literal(""), Literal("/* */ 1"), Literal('"a\nb"'), Literal("1,"), Literal("\x00"),
]  # fmt: skip
NAMES = ["", "session", "history", "events", "opening", "__class__", "constructor", "a" * 300, "\x00", "Time", "kind "]


def places(document: Any, at: tuple = ()) -> list[tuple]:
    """Return the paths of all values of a document, its root included; what is in pairs is left as it is."""
    if isinstance(document, Pairs) or not isinstance(document, dict | list):
        return [at]
    inside = document.items() if isinstance(document, dict) else enumerate(document)
    return [at, *(place for key, value in inside for place in places(value, (*at, key)))]


def value_at(document: Any, place: tuple) -> Any:
    for step in place:
        document = document[step]
    return document


def changed(document: Any, draw: random.Random) -> tuple[Any, str]:
    """Return a document with one value or key changed, and what was done."""
    document = copy.deepcopy(document)
    place = draw.choice(places(document))
    if not place:
        return draw.choice(ODD), "root"
    *above, key = place
    parent = value_at(document, tuple(above))
    does = draw.choice(["drop", "twice", "rename", "add", "odd", "odd", "odd", "swap", "repeat"])
    if does == "drop":
        del parent[key]
    elif does == "twice" and isinstance(parent, dict):
        pairs = Pairs([*parent.items(), (key, parent[key])])
        return (replaced(document, tuple(above), pairs) if above else pairs), "twice"
    elif does == "rename" and isinstance(parent, dict):
        parent[draw.choice(NAMES)] = parent.pop(key)
    elif does == "add" and isinstance(parent, dict):
        parent[draw.choice(NAMES)] = draw.choice(ODD)
    elif does == "swap":
        parent[key] = copy.deepcopy(value_at(document, draw.choice(places(document))))
    elif does == "repeat" and isinstance(parent[key], list):
        parent[key] = parent[key] * draw.choice([2, 60, 2000])
    else:
        parent[key] = draw.choice(ODD)
    return document, does


def replaced(document: Any, place: tuple, value: Any) -> Any:
    value_at(document, place[:-1])[place[-1]] = value
    return document


def text_of(document: Any) -> str:
    """Return a document as JSON, in which literals and keys that come twice stand as they are."""
    if isinstance(document, Literal):
        return document.text
    if isinstance(document, Pairs | dict):
        pairs = document if isinstance(document, Pairs) else document.items()
        return "{" + ",".join(f"{json.dumps(str(key))}:{text_of(value)}" for key, value in pairs) + "}"
    if isinstance(document, list):
        return "[" + ",".join(map(text_of, document)) + "]"
    return json.dumps(document)


PATHS = [
    "/v1/models/..%2f..%2fetc%2fpasswd", "/v1/models/../../etc/passwd", "/v1/models/%00", "/v1/models/%ff",
    "/v1/models/%", "/v1/models/" + "a" * 8000, "//v1/models", "/v1//models", "/v1/models/", "/V1/models",
    "/v1/models?model=stub&a=%ZZ", "/v1/sessions/stub~../events", "/v1/sessions/~", "/v1/sessions/%7E%7E",
    "/v1/sessions/stub~%2e%2e%2f", "/", "/.git/config", "/v1/sessions/stub~none/live", "/docs",
    "/v2/models/stub/versions/1", "/problems/../keys", "/problems/%2e%2e", "*", "/?",
    "/v1/models/\u00e9".encode().decode("latin-1"), "http://other/v1/models", "/v1/models#a", "/static/../app.py",
]  # fmt: skip
HEADERS = [
    ("Authorization", "Bearer"), ("Authorization", "Bearer " + "x" * 5000), ("Authorization", "Basic eDp5"),
    ("Authorization", "Bearer lob_\xff"), ("Content-Type", "text/plain"),
    ("Content-Type", "application/json; charset=utf-16"), ("Content-Type", ""), ("Content-Type", "a" * 3000),
    ("Content-Encoding", "gzip"), ("Expect", "100-continue"), ("Accept", "application/xml"), ("X-Request-Id", "a\tb"),
    ("X-Request-Id", "a" * 500), ("Host", ""), ("Host", "a b"), ("Connection", "close"), ("Connection", "Upgrade"),
    ("Upgrade", "websocket"), ("Upgrade", "h2c"), ("Cookie", "a=" * 500), ("Range", "bytes=0-1"),
    ("X-Forwarded-For", "1.2.3.4, ::1"), ("X-A" * 50, "1"), ("Transfer-Encoding", "gzip"),
]  # fmt: skip
BAD_HEADERS = [
    ("A" * 70_000, "1"),
    ("A", "1" * 70_000),
    ("A\x00", "1"),
    ("A", "1\x00"),
    ("A b", "1"),
    ("", "1"),
    ("A", "1\r\nB"),
]
METHODS = [
    "GET",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "post",
    "P\x00",
    "PROPFIND",
    "A" * 300,
]


def mutated(draw: random.Random, session: str, key: str) -> Sent:
    """Return a request that is changed in one or two ways."""
    method, path, document = draw.choice(documents(session))
    what = []
    if document is not None:
        for _ in range(draw.choice([0, 1, 1, 1, 2])):
            if len(places(document)) == 1:
                break
            document, does = changed(document, draw)
            what.append(does)
    body = None if document is None else text_of(document).encode("utf-8", "surrogatepass")
    headers = [("Host", "h"), ("Authorization", f"Bearer {key}")] + (
        [] if body is None else [("Content-Type", "application/json")]
    )
    sent = Sent(method, path, headers, body)
    if not what or draw.random() < 0.3:
        what.append(_change_bytes(sent, draw))
    sent.what = ", ".join(what)
    return sent


def _change_bytes(sent: Sent, draw: random.Random) -> str:
    """Change a request below its document; return what was done."""
    does = draw.choice(["method", "path", "header", "without", "head", "framing", "bytes", "bytes", "cut", "garbage"])
    if does == "method":
        sent.method = draw.choice(METHODS)
        return "method" if sent.method in METHODS[:8] else "method of the head"
    if does == "path":
        sent.path = draw.choice(PATHS)
        return f"path{' of the head' if sent.path.isascii() is False or sent.path == '*' else ''}"
    if does == "header":
        name, value = draw.choice(HEADERS)
        sent.headers = [pair for pair in sent.headers if pair[0] != name or draw.random() < 0.2] + [(name, value)]
        return "header of the head" if name in ("Transfer-Encoding", "Upgrade", "Connection", "Host") else "header"
    if does == "without":
        del sent.headers[draw.randrange(len(sent.headers))]
    elif does == "head":
        sent.headers.append(draw.choice(BAD_HEADERS))
    elif sent.body is None:
        sent.body = draw.randbytes(draw.choice([1, 100]))
    elif does == "framing":
        sent.framing = draw.choice(["chunked", "chunked", "short", "long", "torn", "both"])
    elif does == "cut":
        sent.body = sent.body[: draw.randrange(len(sent.body) + 1)]
    elif does == "garbage":
        sent.body = draw.randbytes(draw.choice([0, 1, 50, 5000, 1_100_000]))
    else:
        content = bytearray(sent.body or b"{}")
        for _ in range(draw.choice([1, 1, 3])):
            content[draw.randrange(len(content))] = draw.randrange(256)
        sent.body = bytes(content)
    return does
