"""A key that Elasticsearch refuses is a wrong setting: every command says which."""

from typing import Any

import pytest

from console import cli, session
from tests.unit.test_verify_proof import ENVIRONMENT, Account
from worker.cluster import Answer
from worker.errors import DeniedError


class Refusing:
    """A cluster that knows nobody."""

    def request(self, *_: Any, **__: Any) -> Answer:
        raise DeniedError("Elasticsearch answered 401", hint="check SLUICE_ELASTICSEARCH_API_KEY")

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The environment of a command, and the messages that it sends."""
    for name, value in {**ENVIRONMENT, "SLUICE_OVERFLOW_BUCKET": "a-bucket"}.items():
        monkeypatch.setenv(name, value)
    messages: list[Any] = []
    account: Any = Account()
    account.send_message_batch = lambda **batch: messages.append(batch)
    monkeypatch.setattr(session, "connect", lambda *_, **__: Refusing())
    monkeypatch.setattr(session.Session, "connect", lambda self, service: account)
    # The account stands in for every service, and `meta` is its index's.
    monkeypatch.setattr(session, "keep_wire", lambda client: None)
    return messages


@pytest.mark.parametrize(
    "command",
    [
        ("backfill", "notes", "--wait"),
        ("verify", "notes"),
        ("repair", "notes"),
        ("rebuild", "notes"),
        ("rebuild", "notes", "abort"),
        ("tombstones", "purge"),
    ],
    ids=" ".join,
)
def test_a_key_that_the_cluster_refuses_ends_every_command_with_2_and_names_the_setting(
    command: tuple[str, ...], sent: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(command) == 2
    shown = capsys.readouterr()
    assert "SLUICE_ELASTICSEARCH_API_KEY" in shown.err
    assert (shown.out, sent) == ("", [])
