"""A table whose dead letters are explained. Its name is fixed: a module is imported once."""

from typing import Any

from worker.tables import Table

letters: Table[Any] = Table("letters")
