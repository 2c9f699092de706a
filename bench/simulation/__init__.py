"""Capacity on paper: load, pool, cluster and scaling policy as one queueing model. Pure."""
