"""What docs/results.md rests on: `python -m semi_anogan.benchmark` runs it, no part of the product needs it.

A file here is a suite that looks at finished runs, at the machine, or at a few trainings. suites/ holds the
protocols of many trainings, baselines/ what the method is compared with. tables.py and results.py make
Markdown and put it into files.
"""
