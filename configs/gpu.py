"""Your own images in folders, trained on a GPU: 256 x 256, 300,000 images, in bfloat16."""

from semi_anogan.config import default_config


def get_config():
    config = default_config()
    config.name = "gpu"
    config.data.name = "folder"
    config.model.resolution = 256
    config.model.filters_base = 8192
    config.model.filters_cap = 256
    config.model.precision = "bfloat16"
    config.features.resolution = 256
    config.schedule.total_kimages = 300.0
    config.schedule.batch_pixels = 2097152  # 32 images of 256 x 256
    config.schedule.learning_rate = 0.0015
    config.schedule.patch_kimages = 25.6
    config.objective.average_decay = 0.999
    config.parts.memory = 16000
    config.images.cache_megabytes = 16384
    config.train.checkpoint_kimages = 20.0
    config.train.log_steps = 100
    return config
