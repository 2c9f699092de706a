"""The mutants still break what they say, and a suite that hangs on one does not stop the others."""

from pathlib import Path

import pytest

from tests.mutants import MUTANTS, ROOT, Mutant, Verdict, judge, run

RED = "E   assert differences(cluster, tables) == {}"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_words_that_a_mutant_replaces_stand_once_in_its_file(mutant: Mutant) -> None:
    assert (ROOT / mutant.path).read_text().count(mutant.before) == 1


@pytest.mark.parametrize(
    ("code", "output", "verdict"),
    [
        (1, RED, Verdict.CAUGHT),
        (0, "", Verdict.SURVIVED),
        (1, "E   TimeoutError: no worker", Verdict.NOT_RUN),
        (2, RED, Verdict.NOT_RUN),
        (None, RED, Verdict.HUNG),
    ],
)
def test_only_a_difference_found_counts_as_caught(
    code: int | None, output: str, verdict: Verdict
) -> None:
    assert judge(code, output) is verdict


def test_a_suite_that_does_not_end_is_interrupted_and_may_tidy_up(tmp_path: Path) -> None:
    script = (
        "import threading\n"
        "try:\n"
        "    threading.Event().wait()\n"
        "except KeyboardInterrupt:\n"
        "    print('tidied up')\n"
    )
    # Ten seconds: on a busy machine Python takes some of them to come to the script at all.
    assert run(["-c", script], tmp_path, limit_s=10) == (None, "tidied up\n")
