"""The producer's settings: defaults, bounds, and every problem named at once with its remedy."""

import dataclasses

import pytest

from producer.errors import ConfigurationError
from producer.settings import SETTINGS, Settings

GOOD = {
    "SLUICE_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/changes",
    "SLUICE_DEAD_LETTER_URL": "http://127.0.0.1:9324/000000000000/changes-dead",
    "SLUICE_OVERFLOW_BUCKET": "sluice-overflow.eu",
}


def test_what_need_not_be_set_has_its_documented_default() -> None:
    settings = Settings.read(GOOD)
    defaults = {setting.name: setting.default for setting in SETTINGS if setting.default}
    assert settings == Settings.read(GOOD | defaults)
    assert settings == Settings(
        queue_url=GOOD["SLUICE_QUEUE_URL"],
        dead_letter_url=GOOD["SLUICE_DEAD_LETTER_URL"],
        overflow_bucket=GOOD["SLUICE_OVERFLOW_BUCKET"],
    )
    assert settings.queue == "changes"


def test_empty_variables_count_as_not_set_and_spaces_around_do_not_matter() -> None:
    padded = {name: f" {value}\n" for name, value in GOOD.items()}
    assert Settings.read(padded | {"SLUICE_MESSAGE_BYTES": " "}) == Settings.read(GOOD)


def test_every_field_has_one_documented_variable_of_its_name() -> None:
    fields = [f"SLUICE_{field.name.upper()}" for field in dataclasses.fields(Settings)]
    assert [setting.name for setting in SETTINGS] == fields
    assert all(setting.doc.endswith(".") for setting in SETTINGS)


def test_every_variable_is_taken() -> None:
    settings = Settings.read(
        GOOD
        | {
            "SLUICE_MESSAGE_BYTES": "40000",
            "SLUICE_BATCH_BYTES": "262144",
            "SLUICE_CHUNK_BYTES": "50000",
            "SLUICE_OLD_IMAGES": "true",
            "SLUICE_LOG_LEVEL": "WARNING",
        }
    )
    assert (settings.message_bytes, settings.batch_bytes, settings.chunk_bytes) == (
        40_000,
        262_144,
        50_000,
    )
    assert settings.old_images is True
    assert settings.log_level == "WARNING"


def test_variables_of_others_are_not_minded() -> None:
    assert Settings.read(GOOD | {"SLUICE_CONCURRENCY": "x", "PATH": ""}) == Settings.read(GOOD)


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("SLUICE_QUEUE_URL", "changes", "starting with https://"),
        ("SLUICE_QUEUE_URL", "sqs://changes", "starting with https://"),
        ("SLUICE_QUEUE_URL", "https://sqs.example/", "queue's name"),
        ("SLUICE_QUEUE_URL", "https://sqs.example/1/changes.fifo", "standard queue"),
        ("SLUICE_DEAD_LETTER_URL", "", "not set"),
        ("SLUICE_DEAD_LETTER_URL", GOOD["SLUICE_QUEUE_URL"], "same queue"),
        ("SLUICE_OVERFLOW_BUCKET", "s3://bucket", "bucket's name alone"),
        ("SLUICE_MESSAGE_BYTES", "32767", "32768 to 1048576"),
        ("SLUICE_MESSAGE_BYTES", "1048577", "32768 to 1048576"),
        ("SLUICE_MESSAGE_BYTES", "256k", "whole number"),
        ("SLUICE_MESSAGE_BYTES", "٤٠٠٠٠", "whole number"),
        ("SLUICE_MESSAGE_BYTES", "9" * 5_000, "whole number"),
        ("SLUICE_BATCH_BYTES", "262143", "262144 to 1048576"),
        ("SLUICE_CHUNK_BYTES", "0", "32768 to 8388608"),
        ("SLUICE_OLD_IMAGES", "yes", "true or false"),
        ("SLUICE_LOG_LEVEL", "info", "DEBUG, INFO"),
    ],
)
def test_a_bad_value_is_named_with_its_remedy(name: str, value: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.read(GOOD | {name: value})
    text = str(caught.value)
    assert name in text
    assert remedy in text
    assert value[:20] in text
    assert len(text) < 600


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.read({"SLUICE_MESSAGE_BYTES": "1", "SLUICE_OLD_IMAGES": "2"})
    for name in (*GOOD, "SLUICE_MESSAGE_BYTES", "SLUICE_OLD_IMAGES"):
        assert name in str(caught.value)


def test_what_is_no_url_is_refused_and_not_shown_since_it_may_hold_credentials() -> None:
    with pytest.raises(ConfigurationError, match="SLUICE_QUEUE_URL is no URL") as caught:
        Settings.read(GOOD | {"SLUICE_QUEUE_URL": "https://me:hunter2@[changes"})
    assert "hunter2" not in str(caught.value)


def test_credentials_inside_a_url_are_refused_and_not_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.read(GOOD | {"SLUICE_QUEUE_URL": "https://me:hunter2@sqs.example/1/changes"})
    assert "credentials" in str(caught.value)
    assert "hunter2" not in str(caught.value)
