"""The HTTP client of the polls asks libcurl when it is told to, and leaves no timer behind."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from kombu.asynchronous import Hub, set_event_loop
from kombu.asynchronous.http.curl import CurlClient

from worker.polling import TimelyClient, get_client

# kombu calls itself typed, but most of it is not.
StockClient: Any = CurlClient
StockHub: Any = Hub


@pytest.fixture
def hub() -> Iterator[Any]:
    hub = StockHub()
    set_event_loop(hub)
    yield hub
    hub.close()
    set_event_loop(None)


def waits(hub: Any) -> list[float]:
    """In how many seconds each timer is due, but for what is due at once or within a second: the
    client looks each second by itself, and libcurl asks for looks as it begins."""
    now = time.monotonic()
    etas = (s.eta - now for s in hub.timer._queue if not s.entry.canceled)
    return sorted(eta for eta in etas if eta > 1)


def test_the_stock_client_takes_milliseconds_for_seconds_and_keeps_each(hub: Any) -> None:
    client = StockClient(hub)
    for _ in range(5):
        client._set_timeout(25_000)
    timers = waits(hub)
    assert len(timers) == 5
    assert min(timers) > 24_000


def test_libcurls_one_timer_is_in_milliseconds_and_replaces_the_one_before(hub: Any) -> None:
    client = get_client()
    assert isinstance(client, TimelyClient)
    assert get_client() is client
    for _ in range(5):
        client._set_timeout(30_000)
    client._set_timeout(2_500)
    (timer,) = waits(hub)
    assert 2.4 < timer <= 2.5


def test_libcurl_takes_its_timer_back_and_a_look_at_once_leaves_it(hub: Any) -> None:
    client = get_client()
    client._set_timeout(25_000)
    looks = len(hub.timer)
    client._set_timeout(0)
    assert len(hub.timer) == looks + 1
    assert len(waits(hub)) == 1
    client._set_timeout(-1)
    assert waits(hub) == []
