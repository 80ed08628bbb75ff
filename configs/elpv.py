"""Electroluminescence images of solar cells (PyPI elpv-dataset): 64 x 64 for the generator, 256 x 256 for the features."""

from semi_anogan.config import default_config


def get_config():
    config = default_config()
    config.name = "elpv"
    config.data.name = "elpv"
    config.data.abnormal_count = 128
    config.data.flips = "hv"
    config.schedule.total_kimages = 10.0
    config.schedule.start_resolution = 16
    config.features.resolution = 256
    return config
