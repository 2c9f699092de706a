"""When a worker counts as stalled, and when as healthy."""

import os
from pathlib import Path

from worker.watchdog import Patience, is_healthy


def test_patience_ends_after_so_many_looks_without_news() -> None:
    patience = Patience(2)
    assert [patience.ends(polled_at=7.0) for _ in range(4)] == [False, False, False, True]


def test_news_restores_patience() -> None:
    patience = Patience(1)
    assert not any(patience.ends(at) for at in (1.0, 1.0, 2.0, 2.0, 3.0))


def test_one_late_look_is_no_stall_however_late() -> None:
    patience = Patience(1)
    patience.ends(0.0)
    assert not patience.ends(0.0)


def test_a_worker_is_healthy_while_its_file_is_fresh(tmp_path: Path) -> None:
    file = tmp_path / "health"
    assert not is_healthy(file, 1_000, 10)
    file.touch()
    os.utime(file, (995, 995))
    assert is_healthy(file, 1_000, 10)
    assert not is_healthy(file, 1_010, 10)
