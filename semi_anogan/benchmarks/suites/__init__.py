"""Protocols of many trainings.

protocols says which, jobs runs them, tables makes Markdown of what they come to, and suite joins these.
"""
