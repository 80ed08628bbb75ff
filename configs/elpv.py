"""Electroluminescence images of solar cells (PyPI elpv-dataset): 64 x 64 for the generator, 256 x 256 for the
features.
"""

from semi_anogan.config import default_config


def get_config():
    config = default_config()
    config.name = "elpv"
    config.data.name = "elpv"
    config.data.abnormal_count = 128
    config.batches.flips = "hvr"
    config.schedule.total_kimages = 4.0
    config.schedule.start_resolution = 16
    config.schedule.growing_share = (
        0.3  # without a search it is the discriminator's time at full size that counts
    )
    config.features.resolution = 256
    # the search adds nothing here, and takes most of the time
    config.score.components = "discriminator,patches,memory,likeness,classifier"
    return config
