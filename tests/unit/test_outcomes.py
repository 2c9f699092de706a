"""What a cluster's answer to one item means."""

import pytest

from worker.outcomes import Outcome, classify


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (200, None, Outcome.DONE),
        (201, None, Outcome.DONE),
        (409, "version_conflict_engine_exception", Outcome.CONFLICT),
        (404, "document_missing_exception", Outcome.CONFLICT),
        (429, "es_rejected_execution_exception", Outcome.UNAVAILABLE),
        (429, "circuit_breaking_exception", Outcome.UNAVAILABLE),
        (403, "cluster_block_exception", Outcome.UNAVAILABLE),
        (404, "index_not_found_exception", Outcome.UNAVAILABLE),
        (400, "index_not_found_exception", Outcome.UNAVAILABLE),
        (401, "security_exception", Outcome.UNAVAILABLE),
        (503, "unavailable_shards_exception", Outcome.UNAVAILABLE),
        (500, "anything", Outcome.UNAVAILABLE),
        (400, "document_parsing_exception", Outcome.REFUSED),
        (400, "mapper_parsing_exception", Outcome.REFUSED),
        (400, "strict_dynamic_mapping_exception", Outcome.REFUSED),
        (400, "illegal_argument_exception", Outcome.REFUSED),
        (413, None, Outcome.REFUSED),
    ],
)
def test_each_answer_is_judged_by_what_happens_next(
    status: int, error: str | None, expected: Outcome
) -> None:
    assert classify(status, error) is expected
