"""The embedded machined surfaces at 64 x 64: what `python -m semi_anogan.train` runs by itself."""

from semi_anogan.config import default_config


def get_config():
    config = default_config()
    config.name = "surface"
    config.data.name = "surface"
    config.data.size = 64
    config.batches.flips = "hv"
    return config
