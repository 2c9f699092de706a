"""Where the parts of a local pipeline write their logs, and who clears them away."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click


@dataclass(slots=True)
class Logs:
    """A folder of logs; `keep` leaves it there at the end."""

    path: Path
    keep: bool = False


@contextmanager
def log_folder(name: str) -> Iterator[Logs]:
    """A new folder, removed at the end unless something failed or `keep` is set: then its name is
    printed. An end by signal is no failure."""
    logs = Logs(Path(tempfile.mkdtemp(prefix=f"sluice-{name}-")))
    try:
        yield logs
    except Exception:
        logs.keep = any(logs.path.iterdir())
        raise
    finally:
        if logs.keep:
            click.echo(f"The logs are in {logs.path}", err=True)
        else:
            shutil.rmtree(logs.path, ignore_errors=True)
