"""Benchmarks: `python bench/run.py`. They print and compare; they never fail on a timing."""
