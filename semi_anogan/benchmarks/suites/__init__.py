"""Protocols of many trainings: which, run how, put into which tables. What a training is lies elsewhere."""
