"""The default configuration; the files in configs/ change what their data needs. A config stops at the commands."""

import ml_collections
from ml_collections.config_dict import placeholder

from semi_anogan.schedule import Schedule


DISTRIBUTIONS = ("auto", "one_device", "mirrored", "multi_worker")


class ConfigError(ValueError):
    """A setting out of its range; the message names the key and the value."""


def default_config() -> ml_collections.ConfigDict:
    """Every key, with its default. A key that is not here is an error."""
    config = ml_collections.ConfigDict()
    config.name = "surface"  # names the run folder when --workdir is not given
    config.seed = 0

    config.data = ml_collections.ConfigDict()
    config.data.name = "surface"  # surface, manifest, folder, mnist, elpv, caltech256 or tfds
    # Options of the sources; None leaves the source's default.
    config.data.root = placeholder(str)  # folder of the images
    config.data.path = placeholder(str)  # manifest CSV, or mnist .npz
    config.data.dataset = placeholder(str)  # tfds: name of the data set
    config.data.normal_classes = placeholder(object)  # e.g. 0, "0,4" or "cat,dog"
    config.data.inlier_count = placeholder(int)  # caltech256: number of normal categories
    config.data.abnormal_count = placeholder(int)  # known abnormal images training may use, first rows first
    config.data.contamination = placeholder(float)  # share of the normal training images that are secretly abnormal
    config.data.seed = placeholder(int)  # of the source's own random choices
    config.data.size = placeholder(int)  # surface: side of the rendered images
    config.data.finishes = placeholder(object)  # surface: e.g. "brushed,cast"
    config.data.train_normal = placeholder(int)  # surface: number of images
    config.data.train_abnormal = placeholder(int)
    config.data.test_normal = placeholder(int)
    config.data.test_abnormal = placeholder(int)
    # How training uses the images, whatever the source.
    config.data.tile = False  # crops and overlapping tiles instead of reducing large images
    config.data.flips = ""  # mirror at random: "h" left-right, "v" top-bottom, "hv" both
    config.data.shift_px = 0  # move at random by up to this many pixels of the model's resolution
    config.data.cache_megabytes = 2048

    config.model = ml_collections.ConfigDict()
    config.model.resolution = 64  # a power of two up to 1024
    config.model.channels = 1  # 1 grey, 3 RGB
    config.model.latent_size = 128
    config.model.filters_base = 1024  # feature channels at resolution r: base / r, at most the cap
    config.model.filters_cap = 64

    config.objective = ml_collections.ConfigDict()
    config.objective.alpha = 0.5  # mixture weight; 1 is plain AnoGAN
    config.objective.adversarial = "non_saturating"  # or wgan_gp
    config.objective.penalty_weight = placeholder(float)  # None: 0.1 for R1, 10 for wgan_gp
    config.objective.penalty_share = 0.25  # share of a batch the penalty is computed on
    config.objective.abnormal_share = 0.5  # known abnormal images per normal one in a batch
    config.objective.average_decay = 0.99  # of the moving averages of the weights, per step

    config.schedule = ml_collections.ConfigDict()
    config.schedule.total_kimages = 24.0
    config.schedule.start_resolution = 4
    config.schedule.growing_share = 0.3
    config.schedule.batch_size = 32
    config.schedule.batch_pixels = 524288
    config.schedule.learning_rate = 0.003
    config.schedule.decay_share = 0.3

    config.train = ml_collections.ConfigDict()
    config.train.distribution = "auto"  # one_device, mirrored or multi_worker
    config.train.log_steps = 20
    config.train.checkpoint_kimages = 4.0
    config.train.divergence_loss = 1e4  # a loss beyond this, or NaN, goes back to the last checkpoint

    config.search = ml_collections.ConfigDict()
    config.search.iterations = 20
    config.search.feature_weight = 0.1  # lambda
    config.search.learning_rate = 0.1
    config.search.restarts = 1
    config.search.candidates = 512
    config.search.patience = 10
    config.search.batch_size = 32

    config.calibration = ml_collections.ConfigDict()
    config.calibration.hold_out_share = 0.2  # of the training images, for score statistics and threshold
    config.calibration.false_alarm_rate = 0.01

    config.map = ml_collections.ConfigDict()
    config.map.sigma_px = 1.0  # smoothing, in pixels of the model's resolution
    return config.lock()


def check(config):
    """ConfigError for the first setting out of its range."""
    o, s, c = config.objective, config.search, config.calibration
    ranges = [
        ("model.resolution", config.model.resolution in [2**k for k in range(3, 11)], "a power of two from 8 to 1024"),
        ("model.channels", config.model.channels in (1, 3), "1 (grey) or 3 (RGB)"),
        ("model.latent_size", config.model.latent_size >= 1, "at least 1"),
        ("model.filters_base", config.model.filters_base >= 1, "at least 1"),
        ("model.filters_cap", config.model.filters_cap >= 1, "at least 1"),
        ("data.flips", not set(config.data.flips) - set("hv"), 'empty, "h", "v" or "hv"'),
        ("data.shift_px", config.data.shift_px >= 0, "at least 0"),
        ("objective.alpha", 0 < o.alpha <= 1, "in (0, 1]"),
        ("objective.adversarial", o.adversarial in ("non_saturating", "wgan_gp"), "non_saturating or wgan_gp"),
        ("objective.penalty_share", 0 < o.penalty_share <= 1, "in (0, 1]"),
        ("objective.abnormal_share", o.abnormal_share > 0, "above 0"),
        ("objective.average_decay", 0 <= o.average_decay < 1, "in [0, 1)"),
        ("train.distribution", config.train.distribution in DISTRIBUTIONS, f"one of {', '.join(DISTRIBUTIONS)}"),
        ("train.log_steps", config.train.log_steps >= 1, "at least 1"),
        ("train.checkpoint_kimages", config.train.checkpoint_kimages > 0, "above 0"),
        ("search.iterations", s.iterations >= 0, "at least 0"),
        ("search.feature_weight", 0 <= s.feature_weight <= 1, "in [0, 1]"),
        ("search.restarts", s.restarts >= 1, "at least 1"),
        ("search.candidates", s.candidates >= 1, "at least 1"),
        ("search.patience", s.patience >= 0, "at least 0"),
        ("search.batch_size", s.batch_size >= 1, "at least 1"),
        ("calibration.hold_out_share", 0 < c.hold_out_share < 1, "between 0 and 1"),
        ("calibration.false_alarm_rate", 0 < c.false_alarm_rate < 1, "between 0 and 1"),
        ("map.sigma_px", config.map.sigma_px >= 0, "at least 0"),
    ]
    for key, holds, allowed in ranges:
        if not holds:
            section, name = key.split(".")
            raise ConfigError(f"{key} must be {allowed}, got {config[section][name]!r}")
    try:
        Schedule(resolution=config.model.resolution, **config.schedule)
    except ValueError as error:
        raise ConfigError(str(error)) from error
