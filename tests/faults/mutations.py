"""Messages nobody should send: golden ones broken at every layer, from one seed."""

import base64
import bz2
import copy
import gzip
import json
import random
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from producer.contract import CHANGES_TASK, RECORD_TASK, write_envelope

GOLDEN: Final = Path(__file__).parents[1] / "contract" / "golden"
LIMIT: Final = 262_144
"""Largest message, in bytes."""

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

ODD: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 2**63, 10**40, 1.5, -0.0, 1e308, "", " ", "0", "x", "NaN", "null",
    "\u0000", "\ud800", "é𝄞", "../..", "%00", "~probe", "_sluice", "a" * 600, [], [[]], [None], {},
    {"": ""}, {"S": "x"}, {"S": 5}, {"N": "1e999"}, {"N": "abc"}, {"B": "!!"}, {"B": "AA=="},
    {"SS": "x"}, {"NS": ["1", "1"]}, {"L": {}}, {"M": []}, {"NULL": False}, {"BOOL": "no"},
    {"S": "a", "N": "1"}, {"__type__": "no", "__value__": 1}, {"__type__": "datetime"},
    {"__type__": "bytes", "__value__": "AA=="}, 1_700_000_000_000, 10**13, "sluice.undecodable",
    "application/x-python-serialize", "celery.chain", "1:", "2:eJwDAAAAAAE=",
)  # fmt: skip
"""Values in the place of others."""

HEADERS: Final = (
    "compression", "eta", "expires", "timelimit", "group", "chord", "retries", "shadow", "lang",
    "root_id", "parent_id", "origin", "ignore_result", "stamped_headers", "stamps", "priority",
    "replaced_task_nesting", "argsrepr", "kwargsrepr", "meth", "reply_to", "__proto__",
)  # fmt: skip
PROPERTIES: Final = (
    "delivery_info", "delivery_tag", "body_encoding", "correlation_id", "reply_to", "priority",
    "delivery_mode", "sqs_message", "sqs_queue",
)  # fmt: skip


@dataclass(frozen=True)
class Mutator:
    """Breaks messages of one table for one queue."""

    rng: random.Random
    table: str
    queue: str
    now_ms: int

    def bodies(self, count: int) -> Iterator[tuple[str, str]]:
        """Kind and text of so many messages, each one that SQS would take."""
        kinds = sorted(self.kinds())
        for number in range(count):
            kind = kinds[number % len(kinds)]
            text = _ILLEGAL.sub("?", self.kinds()[kind]())
            wire = text.encode()[:LIMIT].decode(errors="ignore")
            yield kind, wire or " "

    def kinds(self) -> dict[str, Callable[[], str]]:
        return {
            "text": self.text,
            "base64": self.base64,
            "envelope": self.envelope,
            "header": self.header,
            "property": self.property,
            "call": self.call,
            "version": self.version,
            "payload": self.payload,
            "compression": self.compression,
            "chunk": self.chunk,
            "chunk again": self.chunk,
            "item": self.item,
            "place": self.place,
            "record": self.record,
            "size": self.size,
        }

    # The whole text

    def text(self) -> str:
        body = self.golden_body()
        return self.pick(
            lambda: body[: self.rng.randrange(len(body))],
            lambda: self.scramble(body),
            lambda: body[::-1],
            lambda: body + self.rng.choice(["}", "\n{}", ",", "x"]),
            lambda: self.rng.choice(["", " ", "\n", "\ufeff", "\u00a0"]) + body,
            lambda: json.dumps(self.odd()),
            lambda: self.rng.choice(["", " ", "{", "{}", "[]", "null", "hello", "'x'", "0" * 99]),
            lambda: '{"a":' * 9_000 + "1" + "}" * 9_000,
            lambda: "".join(chr(self.rng.randrange(32, 0x2FF)) for _ in range(200)),
            lambda: json.dumps({"task": CHANGES_TASK, "args": ["x"], "id": "1", "kwargs": {}}),
        )

    def base64(self) -> str:
        body = base64.b64encode(self.golden_body().encode()).decode()
        return self.pick(
            lambda: body,
            lambda: body[:-1],
            lambda: body.rstrip("=") + "===",
            lambda: self.scramble(body),
            lambda: base64.b64encode(self.rng.randbytes(300)).decode(),
            lambda: base64.urlsafe_b64encode(self.rng.randbytes(300)).decode(),
            lambda: base64.b64encode(body.encode()).decode(),
            lambda: base64.b64encode(self.envelope().encode(errors="replace")).decode(),
        )

    # The envelope

    def envelope(self) -> str:
        envelope = json.loads(self.golden_body())
        name = self.rng.choice([*envelope, *envelope, "extra"])
        if self.rng.random() < 0.3:
            envelope.pop(name, None)
        else:
            envelope[name] = self.odd()
        return json.dumps(envelope)

    def header(self) -> str:
        envelope = json.loads(self.golden_body())
        name = self.rng.choice(["task", "task", "id", "id", *HEADERS])
        envelope["headers"][name] = self.odd()
        if self.rng.random() < 0.1:
            del envelope["headers"][name]
        return json.dumps(envelope)

    def property(self) -> str:
        envelope = json.loads(self.golden_body())
        envelope["properties"][self.rng.choice(PROPERTIES)] = self.odd()
        return json.dumps(envelope)

    def call(self) -> str:
        envelope = json.loads(self.golden_body())
        call = json.loads(envelope["body"])
        self.mutate(call, depth=2)
        text = json.dumps(call)
        envelope["body"] = self.scramble(text) if self.rng.random() < 0.2 else text
        return json.dumps(envelope)

    # The payload

    def version(self) -> str:
        payload = self.golden_payload().partition(":")[2]
        odd = [
            "",
            "0",
            "2",
            "99",
            "-1",
            "1.0",
            "\u0661",
            "x",
            "1" * 30,
            " 1",
            "1:1",
            "01",
            "\u00b2",
        ]
        return self.envelop(f"{self.rng.choice(odd)}:{payload}")

    def payload(self) -> str:
        payload = self.golden_payload()
        return self.envelop(
            self.pick(
                lambda: payload[: self.rng.randrange(len(payload))],
                lambda: self.scramble(payload),
                lambda: payload + payload,
                lambda: payload.replace(":", "", 1),
                lambda: payload + self.rng.choice(["=", "\n", " ", "A", "\u00e9"]),
                lambda: "1:" + base64.b64encode(self.rng.randbytes(200)).decode(),
            )
        )

    def compression(self) -> str:
        content = json.dumps(self.golden_chunk()).encode()
        squeezed = zlib.compress(content)
        place = self.rng.randrange(len(squeezed))
        broken = squeezed[:place] + self.rng.randbytes(1) + squeezed[place + 1 :]
        form = self.rng.choice(
            [
                content,
                broken,
                gzip.compress(content),
                bz2.compress(content),
                squeezed[:place],
                squeezed + squeezed,
                squeezed + b"x",
                zlib.compress(b""),
                zlib.compress(content[:place]),
                zlib.compress(b"\xff\xfe" + content),
                *bombs(),
            ]
        )
        return self.envelop("1:" + base64.b64encode(form).decode())

    # The chunk

    def chunk(self) -> str:
        chunk = self.golden_chunk()
        for _ in range(self.rng.choice((1, 1, 1, 3))):
            self.mutate(chunk, depth=self.rng.randrange(1, 7))
        return self.envelop_chunk(chunk)

    def item(self) -> str:
        """A well-formed chunk whose items hold what DynamoDB would not."""
        chunk = self.golden_chunk()
        for change in chunk["changes"]:
            images = [change[name] for name in ("new", "old", "key") if change.get(name)]
            if images:
                image = self.rng.choice(images)
                name = self.rng.choice([*image, "extra", "_sluice", "a.b", "", "title"])
                image[name] = self.odd()
        return self.envelop_chunk(chunk)

    def place(self) -> str:
        """A well-formed chunk that belongs elsewhere, or to another time."""
        chunk = self.golden_chunk()
        field = self.rng.choice(["table", "stream", "at", "sequence", "kind", "overflow"])
        if field in ("table", "stream"):
            odd = ["unknown", chunk["table"].upper(), "a/b", "_all", "*", "", None, 5]
            chunk[field] = self.rng.choice(odd)
        else:
            change = self.rng.choice(chunk["changes"])
            of_field: dict[str, list[Any]] = {
                "at": [0, -1, 10**13, 10**14, 1.5, "1", self.now_ms - 10**12, 86_400_000],
                "sequence": ["0", "9" * 40, "9" * 41, "-1", "\u0661", "", 5, None, "1e5"],
                "kind": ["READ", "INSERT", "REMOVE", "UPSERT", "", None, 1],
                "overflow": [
                    {"key": key, "bytes": self.rng.choice([1, 0, 2**24, 2**25, "1"])}
                    for key in ("../x", "", "é" * 1000, "\u0000", "s3://other/x", "a" * 1024, 5)
                ],
            }
            change[field] = self.rng.choice(of_field[field])
        return self.envelop_chunk(chunk)

    def record(self) -> str:
        value: Any = json.loads((GOLDEN / "v1-record.json").read_text())["record"]
        if self.rng.random() < 0.7:
            self.mutate(value, depth=3)
        payload = "1:" + base64.b64encode(zlib.compress(json.dumps(value).encode())).decode()
        if self.rng.random() < 0.3:
            payload = self.scramble(payload)
        return write_envelope(payload, self.queue, RECORD_TASK)

    def size(self) -> str:
        """A few as large as SQS takes, most a little odd in length."""
        if self.rng.random() > 0.04:
            return self.envelop("1:" + "A" * self.rng.randrange(3_000))
        chunk = self.golden_chunk()
        noise = base64.b64encode(self.rng.randbytes(180_000)).decode()
        chunk["changes"][0]["noise"] = noise
        return self.pick(
            lambda: "x" * self.rng.randrange(LIMIT - 8_000, LIMIT + 1),
            lambda: "x" * LIMIT,
            lambda: "é" * (LIMIT // 2),
            lambda: self.envelop("1:" + "A" * (LIMIT - 600)),
            lambda: self.envelop_chunk(chunk),
            lambda: json.dumps({"body": noise, "headers": {"task": noise[:9000]}}),
        )

    # Golden ones

    def golden_chunk(self) -> dict[str, Any]:
        """A golden chunk, of this run's table and of this time; one in twenty as it is."""
        name = self.rng.choice(["v1-reads", "v1-stream"])
        chunk: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())["chunk"]
        if chunk["stream"]:
            chunk["stream"] = chunk["stream"].replace(chunk["table"], self.table)
        chunk["table"] = self.table
        if self.rng.random() > 0.05:
            # What lies in the bucket is missing there: a dead letter each time.
            chunk["changes"] = [c for c in chunk["changes"] if "overflow" not in c]
            for change in chunk["changes"]:
                change["at"] = self.now_ms
        return chunk

    def golden_payload(self) -> str:
        content = json.dumps(self.golden_chunk()).encode()
        return "1:" + base64.b64encode(zlib.compress(content)).decode()

    def golden_body(self) -> str:
        return self.envelop(self.golden_payload())

    def envelop(self, payload: str) -> str:
        return write_envelope(payload, self.queue)

    def envelop_chunk(self, chunk: Any) -> str:
        content = json.dumps(chunk).encode()
        return self.envelop("1:" + base64.b64encode(zlib.compress(content)).decode())

    # Breaking

    def odd(self) -> Any:
        return copy.deepcopy(self.rng.choice(ODD))

    def pick(self, *makers: Callable[[], str]) -> str:
        return self.rng.choice(makers)()

    def scramble(self, text: str) -> str:
        letters = list(text)
        for _ in range(self.rng.choice((1, 1, 2, 9))):
            place = self.rng.randrange(len(letters))
            letters[place] = self.rng.choice(['"', "\\", "{", "]", ",", "é", "\t", "A", "=", ""])
        return "".join(letters)

    def mutate(self, value: Any, depth: int) -> None:
        """Replace, drop or repeat one thing within a JSON value, so deep."""
        while depth > 1:
            inner = [v for v in _values(value) if isinstance(v, dict | list) and v]
            if not inner:
                break
            value, depth = self.rng.choice(inner), depth - 1
        if isinstance(value, dict):
            name = self.rng.choice([*value, "extra"])
            if self.rng.random() < 0.25:
                value.pop(name, None)
            else:
                value[name] = self.odd()
        elif value:
            place = self.rng.randrange(len(value))
            value[place : place + 1] = self.rng.choice([[], [self.odd()], [value[place]] * 2])


@cache
def bombs() -> tuple[bytes, ...]:
    """Small things that grow, or that nest."""
    contents = (b" " * 17_000_000, b'{"a":' * 100_000, b"[" * 100_000)
    return tuple(zlib.compress(content, 9) for content in contents)


def _values(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else list(value)
