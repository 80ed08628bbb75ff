"""The default configuration; the files in configs/ change what their data needs. A config stops at the
commands.
"""

import ml_collections
from ml_collections.config_dict import placeholder

from semi_anogan.errors import ConfigError
from semi_anogan.networks.schedule import Schedule

AUGMENTATIONS = ("color", "translation", "cutout")
DISTRIBUTIONS = ("auto", "one_device", "mirrored", "multi_worker")


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
    config.data.contamination = placeholder(
        float
    )  # share of the normal training images that are secretly abnormal
    config.data.seed = placeholder(int)  # of the source's own random choices
    config.data.size = placeholder(int)  # surface: side of the rendered images
    config.data.finishes = placeholder(object)  # surface: e.g. "brushed,cast"
    config.data.train_normal = placeholder(int)  # surface: number of images
    config.data.train_abnormal = placeholder(int)
    config.data.test_normal = placeholder(int)
    config.data.test_abnormal = placeholder(int)
    # How training uses the images, whatever the source.
    config.data.reviewed = placeholder(
        str
    )  # CSV file of labels a person gave: suspicious.csv with its column label filled in
    config.data.tile = False  # crops and overlapping tiles instead of reducing large images
    config.data.flips = (
        ""  # at random: "h" mirror left-right, "v" top-bottom, "r" turn by a right angle; also together, "hv"
    )
    config.data.shift_px = 0  # move at random by up to this many pixels of the model's resolution
    config.data.cache_megabytes = 2048

    config.model = ml_collections.ConfigDict()
    config.model.resolution = 64  # a power of two up to 1024
    config.model.channels = 1  # 1 grey, 3 RGB
    config.model.latent_size = 128
    config.model.filters_base = 1024  # feature channels at resolution r: base / r, at most the cap
    config.model.filters_cap = 64

    config.features = ml_collections.ConfigDict()  # of a network pretrained on ImageNet
    config.features.name = "efficientnet_lite0"  # embedded; or a model of keras.applications; "" for none
    config.features.weights = placeholder(str)  # file of the weights of a keras.applications model
    config.features.resolution = 128  # side of the images it sees; model.resolution times a power of two
    config.features.patches = True  # a patch discriminator on the features
    config.features.trainable_blocks = placeholder(
        int
    )  # its last blocks that are fine-tuned; None: by the known abnormal images
    config.features.top_share = 0.05  # of an image's patches: only the worst count
    config.features.memory = 4000  # normal patches remembered; 0 for no memory
    config.features.memory_trim = (
        0.05  # of the normal images that are not remembered, those least like all others
    )
    config.features.likeness = True  # to the patches of the known defects
    config.features.classifier = (
        True  # of whole images, where so many defects are known that some of them are held out
    )
    config.features.projected = False  # also judges generated images, beside the discriminator
    config.features.search = False  # in the feature matching of the search

    config.objective = ml_collections.ConfigDict()
    config.objective.alpha = 0.5  # mixture weight; 1 is plain AnoGAN
    config.objective.adversarial = "non_saturating"  # or wgan_gp
    config.objective.penalty_weight = placeholder(float)  # None: 0.1 for R1, 10 for wgan_gp
    config.objective.penalty_share = 0.25  # share of a batch the penalty is computed on
    config.objective.abnormal_share = 0.5  # known abnormal images per normal one in a batch
    config.objective.top_share = 0.01  # of the discriminator's evidence maps: only the worst pixels count
    config.objective.masks = True  # where there are masks, only abnormal pixels are treated as generated
    config.objective.synthetic_weight = 0.25  # of synthetic abnormal images; 0 for none
    config.objective.synthetic_share = 0.25  # of them per normal image in a batch
    config.objective.synthetic_kinds = (
        ""  # that look like the defects to be expected, e.g. "crack,shade"; "": some of any sort
    )
    config.objective.trim_share = placeholder(
        float
    )  # of the normal images left out as probably abnormal; None: estimated
    config.objective.augment = (
        ""  # for few images: what the discriminator sees, differentiably; "color,translation,cutout"
    )
    config.objective.average_decay = 0.99  # of the moving averages of the weights, per step

    config.schedule = ml_collections.ConfigDict()
    config.schedule.total_kimages = 24.0
    config.schedule.start_resolution = 4
    config.schedule.growing_share = 0.6
    config.schedule.batch_size = 32
    config.schedule.batch_pixels = 524288
    config.schedule.learning_rate = 0.003
    config.schedule.decay_share = 0.3
    config.schedule.patch_kimages = 6.4  # then the patch discriminator's training
    config.schedule.patch_batch_size = 16
    config.schedule.patch_learning_rate = 0.01

    config.train = ml_collections.ConfigDict()
    config.train.distribution = "auto"  # one_device, mirrored or multi_worker
    config.train.log_steps = 20
    config.train.checkpoint_kimages = 4.0
    config.train.divergence_loss = 1e4  # a loss beyond this, or NaN, goes back to the last checkpoint

    config.score = ml_collections.ConfigDict()
    config.score.components = (
        ""  # e.g. "discriminator,patches,memory,likeness,classifier"; "" for all there are
    )

    config.search = ml_collections.ConfigDict()
    config.search.init = (
        "encoder"  # start of the search: encoder, or candidates, the nearest of some generated images
    )
    config.search.iterations = 10
    config.search.feature_weight = 0.1  # lambda
    config.search.learning_rate = 0.1
    config.search.restarts = 1
    config.search.candidates = 512
    config.search.patience = 10
    config.search.batch_size = 32

    config.calibration = ml_collections.ConfigDict()
    config.calibration.hold_out_share = (
        0.2  # of the training images, for score statistics and threshold; at most 12 known abnormal ones
    )
    config.calibration.false_alarm_rate = 0.01

    config.map = ml_collections.ConfigDict()
    config.map.sigma_px = 1.0  # smoothing, in pixels of the model's resolution
    return config.lock()


def check(config):
    """ConfigError for the first setting out of its range."""
    from semi_anogan import components
    from semi_anogan.data.synthetic import KINDS

    o, f, s, c = config.objective, config.features, config.search, config.calibration
    ranges = [
        (
            "model.resolution",
            config.model.resolution in [2**k for k in range(3, 11)],
            "a power of two from 8 to 1024",
        ),
        ("model.channels", config.model.channels in (1, 3), "1 (grey) or 3 (RGB)"),
        ("model.latent_size", config.model.latent_size >= 1, "at least 1"),
        ("model.filters_base", config.model.filters_base >= 1, "at least 1"),
        ("model.filters_cap", config.model.filters_cap >= 1, "at least 1"),
        ("data.flips", not set(config.data.flips) - set("hvr"), 'made of the letters "h", "v" and "r"'),
        ("data.shift_px", config.data.shift_px >= 0, "at least 0"),
        (
            "features.resolution",
            _is_enlarged(f.resolution, config.model.resolution) or not f.name,
            "model.resolution times 1, 2, 4, ...",
        ),
        ("features.trainable_blocks", f.trainable_blocks is None or 0 <= f.trainable_blocks <= 16, "0 to 16"),
        ("features.top_share", 0 < f.top_share <= 1, "in (0, 1]"),
        ("features.memory", f.memory >= 0, "at least 0"),
        ("features.memory_trim", 0 <= f.memory_trim < 1, "in [0, 1)"),
        ("objective.alpha", 0 < o.alpha <= 1, "in (0, 1]"),
        (
            "objective.adversarial",
            o.adversarial in ("non_saturating", "wgan_gp"),
            "non_saturating or wgan_gp",
        ),
        ("objective.penalty_share", 0 < o.penalty_share <= 1, "in (0, 1]"),
        ("objective.abnormal_share", o.abnormal_share > 0, "above 0"),
        ("objective.top_share", 0 < o.top_share <= 1, "in (0, 1]"),
        ("objective.synthetic_weight", o.synthetic_weight >= 0, "at least 0"),
        ("objective.synthetic_share", 0 < o.synthetic_share <= 1, "in (0, 1]"),
        (
            "objective.synthetic_kinds",
            not set(words(o.synthetic_kinds)) - set(KINDS),
            f"made of {', '.join(KINDS)}",
        ),
        ("objective.trim_share", o.trim_share is None or 0 <= o.trim_share < 1, "in [0, 1)"),
        (
            "objective.augment",
            not set(words(o.augment)) - set(AUGMENTATIONS),
            f"made of {', '.join(AUGMENTATIONS)}",
        ),
        ("search.init", s.init in ("encoder", "candidates"), "encoder or candidates"),
        ("objective.average_decay", 0 <= o.average_decay < 1, "in [0, 1)"),
        (
            "train.distribution",
            config.train.distribution in DISTRIBUTIONS,
            f"one of {', '.join(DISTRIBUTIONS)}",
        ),
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
    off = [name for name in ("patches", *components.OF_FEATURES) if not (f.name and f[name])]
    try:
        components.check(words(config.score.components), off)
        Schedule(resolution=config.model.resolution, **config.schedule)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def words(text: str) -> tuple[str, ...]:
    """The words of a text such as "color, cutout"."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _is_enlarged(side: int, resolution: int) -> bool:
    return any(side == resolution * 2**k for k in range(8))
