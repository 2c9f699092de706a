"""How many messages are asked for, when some of those received only wait."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from worker.transport import QoS

SLOTS = 3


@pytest.fixture
def gate() -> SimpleNamespace:
    values: dict[str, int | None] = {"limit": None, "waiting": 0}
    return SimpleNamespace(
        values=values, limit=lambda: values["limit"], waiting=lambda: values["waiting"]
    )


@pytest.fixture
def qos(gate: SimpleNamespace) -> Iterator[QoS]:
    qos = QoS(SimpleNamespace(gate=gate, do_restore=False), SLOTS)
    qos.append(object(), "one")
    qos.append(object(), "two")
    yield qos
    qos.ack("one")
    qos.ack("two")


def test_what_waits_keeps_its_slot(qos: QoS, gate: SimpleNamespace) -> None:
    gate.values["waiting"] = 1
    assert qos.can_consume()
    assert qos.can_consume_max_estimate() == 1
    qos.append(object(), "three")
    assert not qos.can_consume()
    qos.ack("three")


def test_what_waits_does_not_stand_in_the_way_of_the_valves_trial(
    qos: QoS, gate: SimpleNamespace
) -> None:
    gate.values["limit"] = 1
    gate.values["waiting"] = 1
    assert not qos.can_consume()
    gate.values["waiting"] = 2
    assert qos.can_consume()
    assert qos.can_consume_max_estimate() == 1
