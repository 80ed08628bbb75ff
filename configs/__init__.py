"""Configurations, one file per run; installed as semi_anogan.configs."""
