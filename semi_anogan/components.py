"""What a score can be made of, by name; every component is built so that higher is more abnormal."""

from collections.abc import Iterable

# residual, feature_distance: the search's two losses at z*; discriminator, patches: minus the logit;
# latent_norm: mean square of z*; memory: distance to the nearest normal patches; likeness: to the known
# defects, or where none is known to hidden or synthetic ones (fit_detector.py); classifier: log-odds of the
# whole image, where many defects are known.
COMPONENTS = (
    "residual",
    "feature_distance",
    "discriminator",
    "latent_norm",
    "patches",
    "memory",
    "likeness",
    "classifier",
)
OF_SEARCH = ("residual", "feature_distance", "latent_norm")  # need the generator's search
OF_FEATURES = (
    "memory",
    "likeness",
    "classifier",
)  # fitted to the pretrained features of the training images when the networks are trained
WITHOUT_MAP = ("latent_norm", "classifier")
TRAINED_ON_KNOWN = (
    "discriminator",
    "patches",
)  # tell the known abnormal images apart, whatever they make of others
# What rests on the same evidence: the search, what was trained to tell abnormal images, the memory, the
# likeness, and the classifier.
GROUPS = {
    **dict.fromkeys(OF_SEARCH, 0),
    "discriminator": 1,
    "patches": 1,
    "memory": 2,
    "likeness": 3,
    "classifier": 4,
}


def check(chosen: Iterable[str], off: Iterable[str] = ()):
    """ValueError unless these are components, one of which makes a map; none chosen stands for all. off: what
    the settings switch off.
    """
    chosen = list(chosen)
    unknown = [name for name in chosen if name not in COMPONENTS]
    if unknown:
        raise ValueError(f"score.components must be among {', '.join(COMPONENTS)}, got {', '.join(unknown)}")
    if chosen and not set(chosen) - set(off) - set(WITHOUT_MAP):
        unused = [name for name in chosen if name in off]
        why = f"the section features switches off {', '.join(unused)}; " if unused else ""
        raise ValueError(
            f"score.components: {why}at least one must make a map, which {' and '.join(WITHOUT_MAP)} do not; got {', '.join(chosen)}"
        )
