"""`sluice backfill`: what the table holds, sent through the queue as reads."""
