"""Electroluminescence images of solar cells (PyPI elpv-dataset) at 64 x 64, with 128 known abnormal images."""

from semi_anogan.config import default_config


def get_config():
    config = default_config()
    config.name = "elpv"
    config.data.name = "elpv"
    config.data.abnormal_count = 128
    config.schedule.total_kimages = 16.0
    config.data.flips = "hv"
    return config
