"""For the tests of a table's owner: the whole pipeline in memory, and what goes into it.

`kit.pipeline.Pipeline` is the way in (docs/testing-tables.md). Importing the package loads nothing:
pytest reads `kit.plugin` at its start, in every project that Sluice is installed beside.
"""
