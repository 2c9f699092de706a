"""Whatever goes wrong with a document, and whoever quotes it, its content is in no log."""

import pytest

from tests.faults.conftest import CANARY, Stage
from worker.schema import ensure_index

pytestmark = [
    pytest.mark.services,
    pytest.mark.parametrize("search_engine", ["embedded"], indirect=True, scope="session"),
]


def test_a_refusal_a_defect_and_a_warning_that_quote_a_document_are_logged_without_it(
    stage: Stage,
) -> None:
    ensure_index(stage.cluster, stage.table)
    wrong = [stage.change(verb, do={"S": verb}) for verb in ("refuse", "defect", "warn")]
    foreign = f'{{"headers": {{"task": "{CANARY}"}}}}'
    stage.queues.send([*(stage.chunk(change) for change in wrong), foreign])
    stage.workers.start(SLUICE_ATTEMPTS="2")
    stage.wait_until_drained(30)
    stage.check_logs()
    # Each was told all the same, and the dead letters say why in full.
    (defect,) = [line for line in stage.lines("message dead-lettered") if line["level"] == "ERROR"]
    assert str(defect["error"]).splitlines()[-1] == "KeyError"
    assert "tests/faults/tables.py" in str(defect["error"])
    assert stage.lines("UserWarning at ")
    assert stage.lines("cannot be read")
    letters = {a["sluice-error"]: a["sluice-reason"] for _, a in stage.queues.drain_dead()}
    assert letters.keys() == {"KeyError", "ValueError", "UndecodableMessage"}
    assert all(CANARY in reason for name, reason in letters.items() if name != "UndecodableMessage")
