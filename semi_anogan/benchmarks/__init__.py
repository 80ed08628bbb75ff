"""Measurements that docs/results.md rests on; `python -m semi_anogan.benchmark` runs them. No part of the
product needs them.
"""
