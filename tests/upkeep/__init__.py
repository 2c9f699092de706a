"""A table, its pipeline, and the commands that keep table and index equal, on real services."""
