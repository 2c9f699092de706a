"""The least there is to declare: every attribute is indexed as it is, into the alias `notes`."""

from worker.tables import Table

notes = Table("notes")
