"""Every setting: its default, its range, what it means. A section holds the arguments of its receiver.

A default and a range stand here alone: the classes that take a setting read both from here. Standard library
only, but for `default_config`, so that an edge device needs no more.
"""

import difflib
from collections.abc import Callable
from typing import NamedTuple

from semi_anogan.errors import ConfigError
from semi_anogan.image_shape import MOST

AUGMENTATIONS = ("color", "translation", "cutout")
DISTRIBUTIONS = ("auto", "one_device", "mirrored", "multi_worker")


class Key(NamedTuple):
    """A setting: its default, what it means, its range in words and as a function.

    kind: the type of one whose default is None.
    """

    default: object
    about: str
    allowed: str = ""
    holds: Callable[[object], bool] = lambda value: True
    kind: type | None = None


def _optional(kind: type, about: str, allowed: str = "", holds: Callable | None = None) -> Key:
    """A key without a value by default; what receives it then decides."""
    return Key(None, about, allowed, lambda value: value is None or holds is None or holds(value), kind)


def _at_least(least) -> tuple:
    return f"at least {least}", lambda value: value >= least


def _share() -> tuple:
    return "in (0, 1]", lambda value: 0 < value <= 1


def _below(most) -> tuple:
    return f"in [0, {most})", lambda value: 0 <= value < most


def _between() -> tuple:
    return "between 0 and 1", lambda value: 0 < value < 1


def _above_zero() -> tuple:
    return "above 0", lambda value: value > 0


def _one_of(*names) -> tuple:
    return f"one of {', '.join(names)}", lambda value: value in names


def words(text: str) -> tuple[str, ...]:
    """The words of a text such as "color, cutout"."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


SECTIONS: dict[str, dict[str, Key]] = {
    # data.catalog.load: the source by its name, the labels a person gave, and the options of the sources.
    "data": {
        "name": Key("surface", "the source: surface, manifest, folder, mnist, elpv, caltech256 or tfds"),
        "reviewed": _optional(
            str, "CSV file of labels a person gave: suspicious.csv with its column filled in"
        ),
        "root": _optional(str, "folder of the images"),
        "path": _optional(str, "manifest CSV, or mnist .npz"),
        "dataset": _optional(str, "tfds: name of the data set"),
        "normal_classes": _optional(object, 'the normal classes, such as 0, "0,4" or "cat,dog"'),
        "inlier_count": _optional(int, "caltech256: number of normal categories"),
        "images_per_class": _optional(int, "caltech256: only the first ones of each category are used"),
        "abnormal_count": _optional(int, "known abnormal images that training may use, first rows first"),
        "contamination": _optional(float, "share of the normal training images that are secretly abnormal"),
        "good": _optional(
            str,
            'folder: names of the folders of normal images, such as "pass,fine", in place of the known ones; '
            '"." for images that lie directly in train/ or test/',
        ),
        "test_folder": _optional(str, 'folder: name of the folder of test images; "" for none'),
        "white": _optional(
            float,
            "files: value that is white, above it is clipped; None: the smallest of 255, 1023, 4095, 16383, "
            "65535 that holds all training images, 1 of float ones",
            *_above_zero(),
        ),
        "black": _optional(float, "files: value that is black, below white; None: 0"),
        "max_pixels": _optional(
            int, "files: images with more are refused; None: 100 million", *_at_least(16)
        ),
        "ignore": _optional(str, "mask image, or JSON file of polygons, of what is ignored in every image"),
        "ignore_digest": _optional(str, "SHA-256 of that mask's pixels: found, not to be set"),
        "seed": _optional(int, "of the source's own random choices"),
        "size": _optional(int, "surface: side of the rendered images"),
        "finishes": _optional(object, 'surface: such as "brushed,cast"'),
        "train_normal": _optional(int, "surface: number of normal training images"),
        "train_abnormal": _optional(int, "surface: number of known abnormal training images"),
        "test_normal": _optional(int, "surface: number of normal test images"),
        "test_abnormal": _optional(int, "surface: number of abnormal test images"),
    },
    # data.batches.ImageStore; the detector takes `tile` too.
    "images": {
        "tile": Key(False, "crops and overlapping tiles instead of reducing large images"),
        "cache_megabytes": Key(2048, "most memory for decoded images, and for their features", *_at_least(0)),
    },
    # data.batches.Batches
    "batches": {
        "abnormal_share": Key(0.5, "known abnormal images per normal one in a batch", *_above_zero()),
        "synthetic_share": Key(0.25, "synthetic abnormal images per normal one in a batch", *_share()),
        "synthetic_kinds": Key("", 'kinds like the defects to be expected, such as "crack,shade"; "": any'),
        "masks": Key(True, "where there are masks, only abnormal pixels are treated as generated"),
        "flips": Key(
            "",
            'at random: "h" mirror left-right, "v" top-bottom, "r" turn by a right angle, or '
            'by half a turn where images are not square; also "hv"',
            'made of the letters "h", "v" and "r"',
            lambda value: not set(value) - set("hvr"),
        ),
        "shift_px": Key(
            0, "move at random by up to this many pixels of the model's resolution", *_at_least(0)
        ),
    },
    # networks.model.SemiAnoGAN
    "model": {
        "resolution": Key(
            64,
            "short side of the generator's images",
            "a power of two from 8 to 1024",
            lambda value: value in [2**k for k in range(3, 11)],
        ),
        "aspect": _optional(
            float,
            "width / height of the images; None: the median of the normal training images, 1 of tiles",
            f"above 0, from 1/{MOST} to {MOST}",
            lambda value: 1 / MOST <= value <= MOST,
        ),
        "channels": Key(1, "1 grey, 3 RGB", "1 (grey) or 3 (RGB)", lambda value: value in (1, 3)),
        "latent_channels": Key(
            16, "length of the latents at each place of their grid; a place is 32 x 32 pixels", *_at_least(1)
        ),
        "filters_base": Key(
            1024, "feature channels at resolution r: base / r, at most the cap", *_at_least(1)
        ),
        "filters_cap": Key(64, "most feature channels", *_at_least(1)),
        "top_share": Key(
            0.01, "share of the discriminator's evidence maps that counts: the worst", *_share()
        ),
        "precision": Key(
            "float32",
            "of the GAN's convolutions in training; bfloat16 for GPUs that have it",
            *_one_of("float32", "bfloat16"),
        ),
    },
    # networks.model.SemiAnoGAN, as its `features`: a network pretrained on ImageNet.
    "features": {
        "name": Key(
            "efficientnet_lite0", 'embedded; or a keras.applications model; or keras_hub:PRESET; "" for none'
        ),
        "weights": _optional(str, "file of the weights of a keras.applications model"),
        "resolution": Key(
            128, "short side of the images it sees; model.resolution, or that times a power of two"
        ),
        "sizes": _optional(
            str,
            'short sides of the images that the memory compares, such as "64,128"; "": features.resolution; '
            "None: by the images' own size",
            "sides of at least 32 pixels, with commas between them",
            lambda value: all(word.isdecimal() and int(word) >= 32 for word in words(value)),
        ),
        "patch_discriminator": Key(True, "a discriminator of patches on the features"),
        "trainable_blocks": _optional(
            int,
            "its last blocks that are fine-tuned; None: by the known images",
            "0 to 16",
            lambda v: 0 <= v <= 16,
        ),
        "top_share": Key(0.05, "share of an image's patches that counts: the worst", *_share()),
        "projected": Key(False, "a second one judges generated images, beside the discriminator"),
    },
    # training.fit_detector.fit_parts: what is fitted to the pretrained features of the training images.
    "parts": {
        "memory": Key(
            24000, "most normal patches remembered of each of features.sizes; 0 for no memory", *_at_least(0)
        ),
        "memory_doubt": Key(0.3, "how far suspicious normal images count less in it; 0: not", *_at_least(0)),
        "likeness": Key(True, "likeness to the patches of the known defects"),
        "classifier": Key(True, "classifier of whole images, where some known defects are held out"),
        "segmentation": Key(
            300,
            "batches that learn to locate defects, of many known ones up to 3 times as many; 0 for none",
            *_at_least(0),
        ),
    },
    # networks.model.SemiAnoGAN.compile
    "objective": {
        "alpha": Key(0.5, "mixture weight; 1 is plain AnoGAN", *_share()),
        "adversarial": Key("non_saturating", "or wgan_gp", *_one_of("non_saturating", "wgan_gp")),
        "penalty_weight": _optional(float, "of the gradient penalty; None: 0.1 for R1, 10 for wgan_gp"),
        "penalty_share": Key(0.25, "share of a batch that the penalty is computed on", *_share()),
        "synthetic_weight": Key(0.25, "of synthetic abnormal images; 0 for none", *_at_least(0)),
        "trim_share": _optional(
            float,
            "share of the normal images left out as probably abnormal; None: estimated",
            "in [0, 1)",
            lambda value: 0 <= value < 1,
        ),
        "augment": Key(
            "",
            'for few images: what the discriminator sees, differentiably; "color,translation,cutout"',
            f"made of {', '.join(AUGMENTATIONS)}",
            lambda value: not set(words(value)) - set(AUGMENTATIONS),
        ),
        "reconstruction_weight": Key(
            60.0, "of the reconstruction of normal images, beside the adversarial loss", *_at_least(0)
        ),
        "push_weight": Key(
            0.6, "of pushing known abnormal images from their reconstruction, within that", *_at_least(0)
        ),
        "latent_noise": Key(0.9, "on the encoder's latents in training, times U(-1, 1)", *_at_least(0)),
        "average_decay": Key(0.99, "of the moving averages of the weights, per step", *_below(1)),
    },
    # networks.schedule.Schedule
    "schedule": {
        "total_kimages": Key(24.0, "thousands of normal images", *_at_least(0.001)),
        "start_resolution": Key(4, "the first resolution"),
        "growing_share": Key(
            0.6, "share of the training below full resolution or fading into it", *_below(1)
        ),
        "batch_size": Key(32, "normal images in a step", *_at_least(1)),
        "batch_pixels": Key(524288, "most pixels in a step", *_at_least(1)),
        "learning_rate": Key(0.003, "Adam's", *_above_zero()),
        "decay_share": Key(0.3, "share over which it falls", "in [0, 1]", lambda value: 0 <= value <= 1),
        "patch_kimages": Key(6.4, "then the patch discriminator's training", *_at_least(0)),
        "patch_batch_size": Key(16, "normal images in a step of it", *_at_least(1)),
        "patch_learning_rate": Key(0.01, "Adam's in it", *_above_zero()),
    },
    # training.loop.Training
    "train": {
        "distribution": Key("auto", "one_device, mirrored or multi_worker", *_one_of(*DISTRIBUTIONS)),
        "log_steps": Key(20, "steps between two rows of the history", *_at_least(1)),
        "checkpoint_kimages": Key(4.0, "thousands of images between two checkpoints", *_above_zero()),
        "divergence_loss": Key(1e4, "a loss beyond this, or NaN, goes back to the last checkpoint"),
    },
    # scoring.detector.Detector
    "score": {
        "components": Key("", 'such as "discriminator,patches,memory"; "" for all there are'),
        "batch_size": Key(
            32, "images scored at once, at most; fewer where the model is large", *_at_least(1)
        ),
    },
    # networks.latent_search.LatentSearch.of_model
    "search": {
        "init": Key(
            "encoder",
            "where a search starts: encoder, or candidates, the nearest of some generated images",
            *_one_of("encoder", "candidates"),
        ),
        "pretrained_weight": Key(1.0, "of the feature residual in its loss", *_at_least(0)),
        "image_weight": _optional(
            float,
            "of what compares images in its loss; None: 0 where pretrained features are drawn, else 1",
            *_at_least(0),
        ),
        "iterations": Key(5, "most steps", *_at_least(0)),
        "feature_weight": Key(0.1, "lambda", "in [0, 1]", lambda value: 0 <= value <= 1),
        "reach": Key(
            0.55, "how far it moves any latent in all, before the bound, however many steps", *_above_zero()
        ),
        "restarts": Key(1, "searches of an image; the best counts", *_at_least(1)),
        "candidates": Key(512, "generated images to start from", *_at_least(1)),
        "patience": Key(10, "steps without a better loss; 0 never stops early", *_at_least(0)),
    },
    # data.splits.split and Detector.calibrate
    "calibration": {
        "hold_out_share": Key(0.2, "of the training images; at most 12 known abnormal ones", *_between()),
        "false_alarm_rate": Key(0.01, "asked of the threshold", *_between()),
        "mislabelled_share": Key(
            0.0, "of the normal images, believed to be defects: no threshold bears the highest", *_below(0.5)
        ),
    },
    # scoring.graph.Verdict
    "map": {"sigma_px": Key(1.0, "smoothing, in pixels of the model's resolution", *_at_least(0))},
}


def default(key: str):
    """The default of a key, such as "search.iterations"."""
    section, name = key.split(".")
    return SECTIONS[section][name].default


def check_ranges(section: str, **values):
    """ConfigError for the first of a section's settings out of its range; it names key and value."""
    for name, value in values.items():
        key = SECTIONS[section][name]
        if not key.holds(value):
            raise ConfigError(f"{section}.{name} must be {key.allowed}, got {value!r}")


def default_config():
    """A locked ConfigDict with every key at its default. A key that is not here is an error."""
    import ml_collections
    from ml_collections.config_dict import placeholder

    config = ml_collections.ConfigDict()
    config.name = "surface"  # names the run folder when --workdir is not given
    config.seed = 0
    for section, keys in SECTIONS.items():
        config[section] = {
            name: placeholder(key.kind) if key.kind else key.default for name, key in keys.items()
        }
    return config.lock()


def nearest_key(key: str) -> str:
    """The key that an unknown one may mean, or several: those whose names are most like its own.

    key: "section.key", or "key" alone. One of the same section comes before others.
    """

    def likeness(k):
        return difflib.SequenceMatcher(None, k.rpartition(".")[2], key.rpartition(".")[2]).ratio()

    known = list(flat(default_config().to_dict()))
    best = max(map(likeness, known))
    alike = [k for k in known if likeness(k) == best]
    here = [k for k in alike if k.rpartition(".")[0] == key.rpartition(".")[0]]
    return " or ".join(here or alike)


def flat(values: dict, prefix: str = "") -> dict:
    """Nested settings as {"section.key": value}."""
    found = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found
