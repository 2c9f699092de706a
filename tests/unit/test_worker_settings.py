"""The worker's settings: every problem named at once, no secret shown."""

import pytest

from worker.errors import ConfigurationError
from worker.settings import SETTINGS, read_settings

GOOD = {
    "SLUICE_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/changes",
    "SLUICE_DEAD_LETTER_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/dead",
    "SLUICE_ELASTICSEARCH_URL": "https://cluster.example:9200",
    "SLUICE_TABLES": "shop.tables",
}


def test_what_must_be_set_is_enough() -> None:
    settings = read_settings(GOOD)
    assert settings.tables == "shop.tables"
    assert (settings.concurrency, settings.clock_margin_s, settings.horizon_days) == (4, 60, 30)


def test_an_empty_variable_counts_as_unset() -> None:
    assert read_settings({**GOOD, "SLUICE_CONCURRENCY": " "}).concurrency == 4


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_settings({"SLUICE_CONCURRENCY": "many", "SLUICE_HORIZON_DAYS": "0"})
    for name in ("QUEUE_URL", "DEAD_LETTER_URL", "ELASTICSEARCH_URL", "TABLES", "CONCURRENCY"):
        assert f"SLUICE_{name}" in str(raised.value)
    assert "not between 1 and 3,650" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SLUICE_QUEUE_URL", "changes", "no http or https address"),
        ("SLUICE_QUEUE_URL", "https://sqs.example", "names no queue"),
        ("SLUICE_ELASTICSEARCH_URL", "cluster:9200", "no http or https address"),
        ("SLUICE_ELASTICSEARCH_URL", "https://[", "no http or https address"),
        ("SLUICE_CONCURRENCY", "0", "not between 1 and 256"),
        ("SLUICE_CLOCK_MARGIN_S", "1.5", "no whole number"),
        ("SLUICE_LOG_LEVEL", "LOUD", "no log level"),
        ("SLUICE_DRAIN_S", "-1", "not between 0 and 3,600"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_wrong(name: str, value: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as raised:
        read_settings({**GOOD, name: value})
    assert words in str(raised.value)


def test_one_queue_cannot_be_both() -> None:
    with pytest.raises(ConfigurationError, match="same queue"):
        read_settings({**GOOD, "SLUICE_DEAD_LETTER_URL": GOOD["SLUICE_QUEUE_URL"]})


def test_credentials_in_an_address_are_refused_and_not_shown() -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_settings({**GOOD, "SLUICE_ELASTICSEARCH_URL": "https://me:hush@cluster.example"})
    assert "SLUICE_ELASTICSEARCH_API_KEY" in str(raised.value)
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    ["https://cluster.example", "http://localhost:9200", "http://127.1.2.3:9200", "http://[::1]:1"],
)
def test_an_api_key_is_sent_where_nobody_else_can_read_it(url: str) -> None:
    with_key = {**GOOD, "SLUICE_ELASTICSEARCH_API_KEY": "aHVzaA==", "SLUICE_ELASTICSEARCH_URL": url}
    assert read_settings(with_key).elasticsearch_api_key


@pytest.mark.parametrize(
    "url", ["http://cluster.example:9200", "http://10.0.0.1:9200", "http://localhost.example"]
)
def test_an_api_key_over_plain_http_to_elsewhere_is_refused(url: str) -> None:
    assert read_settings({**GOOD, "SLUICE_ELASTICSEARCH_URL": url}).elasticsearch_url == url
    with pytest.raises(ConfigurationError, match="https address") as raised:
        read_settings(
            {**GOOD, "SLUICE_ELASTICSEARCH_URL": url, "SLUICE_ELASTICSEARCH_API_KEY": "aHVzaA=="}
        )
    assert "aHVzaA==" not in str(raised.value)


def test_a_secret_is_never_printed() -> None:
    settings = read_settings({**GOOD, "SLUICE_ELASTICSEARCH_API_KEY": "aHVzaA=="})
    assert settings.elasticsearch_api_key == "aHVzaA=="
    assert "aHVzaA==" not in repr(settings)
    assert "aHVzaA==" not in str(settings)


def test_every_setting_has_a_meaning_and_names_itself_once() -> None:
    assert all(setting.doc.endswith(".") for setting in SETTINGS)
    assert len({setting.name for setting in SETTINGS}) == len(SETTINGS)
