"""Bundles for edge devices and servers: writing, checking and running them.

Installed as semi_anogan.export.
"""
