"""Benchmarks of lazygrad beside its peers: `python -m benchmarks --help`, and docs/performance.md."""
