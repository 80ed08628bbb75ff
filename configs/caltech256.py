"""Caltech-256 in the set-up of ALOCC; data.root is the folder that holds 256_ObjectCategories."""

from semi_anogan.config import default_config


def get_config():
    config = default_config()
    config.name = "caltech256"
    config.data.name = "caltech256"
    config.data.inlier_count = 1
    config.data.abnormal_count = 50
    config.batches.flips = "h"
    config.model.channels = 3
    return config
