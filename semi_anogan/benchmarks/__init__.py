"""Measurements that docs/results.md rests on; `python -m semi_anogan.benchmark` runs them."""
