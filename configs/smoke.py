"""A minute's run on a few small surfaces, to see that an installation works. Its figures mean nothing."""

from semi_anogan.config import default_config


def get_config():
    config = default_config()
    config.name = "smoke"
    config.data.name = "surface"
    config.data.size = 16
    config.data.train_normal = 60
    config.data.train_abnormal = 40
    config.data.test_normal = 10
    config.data.test_abnormal = 10
    config.model.resolution = 16
    config.features.name = ""
    config.model.filters_base = 128
    config.model.filters_cap = 16
    config.model.latent_channels = 16
    config.schedule.total_kimages = 1.0
    config.schedule.start_resolution = 8
    config.schedule.batch_size = 16
    config.train.checkpoint_kimages = 0.25
    config.train.log_steps = 10
    config.search.iterations = 10
    config.search.candidates = 64
    return config
