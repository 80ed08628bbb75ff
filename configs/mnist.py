"""MNIST, one digit normal and the others abnormal, with 5 % contamination and 64 known abnormal images."""

from semi_anogan.config import default_config


def get_config():
    config = default_config()
    config.name = "mnist"
    config.data.name = "mnist"
    config.data.normal_classes = 0
    config.data.contamination = 0.05
    config.data.abnormal_count = 64
    config.batches.shift_px = 2
    config.objective.penalty_weight = 0.5
    config.model.resolution = 32
    config.model.filters_base = 512
    return config
