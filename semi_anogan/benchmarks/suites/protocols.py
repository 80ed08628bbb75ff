"""The protocols of the benchmark suites as data: which cases, variants and baselines, with which settings.

A suite runs every variant of our method and every baseline on each of its cases, parts and seeds. The figures
of the parts of a case (the digits of MNIST) are averaged. Settings are those of the train command,
--config.KEY=VALUE.
"""

import dataclasses
from collections.abc import Mapping

from semi_anogan.errors import RunError

NONE_KNOWN = "none known"


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to run our method.

    Attributes:
      folder: name of its run folder. Variants of the same folder share one run, so they must have the same
        settings.
      settings: {key: value} of the train command.
      score: what its row shows: "fused"; a component's name for it alone; or "search_loss" for (1 - lambda)
        residual + lambda feature distance alone.
      trained_as: folder of the variant that is trained alike, whose weights are taken.
      needs_known: left out of the cases without known abnormal images, where it is another one's double.
    """

    folder: str
    settings: Mapping
    score: str = "fused"
    trained_as: str = ""
    needs_known: bool = False


_ALL = {"score.components": ""}  # whatever the configuration leaves out
_PLAIN = {"objective.alpha": 1.0, "features.name": "", "objective.synthetic_weight": 0.0, **_ALL}
VARIANTS = {
    "plain AnoGAN": Variant("alpha1", _PLAIN, "search_loss"),
    "alpha = 1": Variant("alpha1", _PLAIN),
    "alpha < 1": Variant("mixture", {**_PLAIN, "objective.alpha": 0.5}, needs_known=True),
    "with features": Variant("features", {"objective.synthetic_weight": 0.0}),
    "full": Variant("full", {}),
}
# Each leaves one thing out of the full method, or adds one that it does not have by default.
ABLATIONS = {
    "full": Variant("full", _ALL),
    "without alpha": Variant("no_alpha", {"objective.alpha": 1.0, **_ALL}),
    "without features": Variant("no_features", {"features.name": "", **_ALL}),
    "without top_share": Variant("no_top_share", {"model.top_share": 1.0, "features.top_share": 1.0, **_ALL}),
    "without synthetic": Variant("no_synthetic", {"objective.synthetic_weight": 0.0, **_ALL}),
    "without encoder": Variant("no_encoder", {"search.init": "candidates", **_ALL}, trained_as="full"),
    "without push": Variant("no_push", {"objective.push_weight": 0.0, **_ALL}),
    "without search": Variant(
        "no_search", {"score.components": "discriminator,patches,memory,likeness,classifier,segmentation"}
    ),
    "without memory": Variant("no_memory", {"parts.memory": 0, **_ALL}, trained_as="full"),
    "without likeness": Variant("no_likeness", {"parts.likeness": False, **_ALL}, trained_as="full"),
    "without classifier": Variant("no_classifier", {"parts.classifier": False, **_ALL}, trained_as="full"),
    "without segmentation": Variant("no_segmentation", {"parts.segmentation": 0, **_ALL}, trained_as="full"),
    "without trim": Variant("no_trim", {"objective.trim_share": 0.0, **_ALL}),
    "without pretrained features in the search": Variant(
        "pixel_search", {"search.pretrained_weight": 0.0, **_ALL}, trained_as="full"
    ),
    "with images in the search": Variant(
        "image_search", {"search.image_weight": 1.0, **_ALL}, trained_as="full"
    ),
    "with a projected discriminator": Variant("projected", {"features.projected": True, **_ALL}),
    "with augmentation": Variant("augmented", {"objective.augment": "color,translation,cutout", **_ALL}),
}

# The GAN alone: what generator and discriminator say, together and each component by itself.
_GAN = {
    "score.components": "discriminator,residual,feature_residual,feature_distance",
    "features.patch_discriminator": False,
}
_GAN_ALPHA_1 = {**_GAN, "objective.alpha": 1.0}
GENERATOR = {
    "feature residual": Variant("gan", _GAN, "feature_residual"),
    "residual": Variant("gan", _GAN, "residual"),
    "discriminator": Variant("gan", _GAN, "discriminator"),
    "together": Variant("gan", _GAN),
    "alpha = 1: feature residual": Variant("gan_alpha1", _GAN_ALPHA_1, "feature_residual", needs_known=True),
    "alpha = 1: together": Variant("gan_alpha1", _GAN_ALPHA_1, needs_known=True),
    **{
        f"{steps} steps: {name}": Variant(
            f"gan_{steps}_steps", {**_GAN, "search.iterations": steps}, score, trained_as="gan"
        )
        for steps in (0, 100)
        for name, score in (
            ("feature residual", "feature_residual"),
            ("residual", "residual"),
            ("together", "fused"),
        )
    },
}

# The default method, and of its components those that no label has taught anything.
TRANSFER = {
    "whole score": Variant("full", {}),
    "memory": Variant("full", {}, "memory"),
    "feature residual": Variant("full", {}, "feature_residual"),
}


# As in Schlegl et al. (2017): no encoder in training or search, which starts anywhere and takes 500 steps.
ANOGAN = {
    **_PLAIN,
    "objective.reconstruction_weight": 0.0,
    "search.init": "candidates",
    "search.candidates": 1,
    "search.iterations": 500,
    "search.patience": 0,
}


@dataclasses.dataclass(frozen=True)
class Suite:
    """A protocol.

    Attributes:
      config: name of the file in configs/.
      cases: {name: settings}, a table each.
      parts: {name: settings}, over which a case is averaged.
      fast_parts: those of --fast.
      seed_keys: settings that the seed goes to.
      variants: {name: Variant}, the rows of our method.
      baselines: whether the baselines are run too.
      outlier_detectors: whether those of comparison.OUTLIER_DETECTORS are among them.
      required: settings that the user must give, with what they are.
      published: {case: {method: F1}} of others, as printed in the paper.
      note: what to know about the figures.
      one_table: whether all cases go into one table.
    """

    config: str
    cases: Mapping[str, Mapping]
    parts: Mapping[str, Mapping] = dataclasses.field(default_factory=lambda: {"": {}})
    fast_parts: tuple[str, ...] = ("",)
    seed_keys: tuple[str, ...] = ("seed",)
    variants: Mapping[str, Variant] = dataclasses.field(default_factory=lambda: VARIANTS)
    baselines: bool = True
    outlier_detectors: bool = False
    required: Mapping[str, str] = dataclasses.field(default_factory=dict)
    published: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    note: str = ""
    one_table: bool = False


SEEDS, FAST_SEEDS = (0, 1, 2), (0,)
_COMPARATORS = ("CoP", "REAPER", "LRR", "DPCP", "R-graph", "ALOCC")
_CALTECH_F1 = {  # the table of Kimura & Yanagihara (2018)
    "1 inlier category": (0.880, 0.808, 0.893, 0.785, 0.914, 0.928),
    "3 inlier categories": (0.718, 0.784, 0.671, 0.777, 0.880, 0.913),
    "5 inlier categories": (0.672, 0.716, 0.667, 0.715, 0.858, 0.905),
}
SUITES = {
    "mnist": Suite(
        "mnist",
        cases={
            "64 known": {"data.abnormal_count": 64, "data.contamination": 0.05},
            NONE_KNOWN: {"data.abnormal_count": 0, "data.contamination": 0.05},
        },
        parts={f"digit {digit}": {"data.normal_classes": digit} for digit in range(10)},
        fast_parts=("digit 0", "digit 4", "digit 8"),
        note="One digit is normal and the others abnormal; 5 % of the normal training images are other "
        "digits.",
    ),
    "elpv": Suite(
        "elpv",
        cases={
            # Cells crack, and what a crack cuts off goes dark; known ones teach that better.
            NONE_KNOWN: {"data.abnormal_count": 0, "batches.synthetic_kinds": "crack,shade"},
            "10 known": {"data.abnormal_count": 10},
            "128 known": {"data.abnormal_count": 128},
        },
        note="Solar cells; some of the normal training images are labelled uncertain.",
    ),
    "surface": Suite(
        "surface",
        cases={"surfaces": {}},
        seed_keys=("seed", "data.seed"),
        note="Rendered surfaces, other ones for each seed; some of the normal training images secretly show "
        "a defect.",
    ),
    "caltech256": Suite(
        "caltech256",
        cases={name: {"data.inlier_count": int(name[0])} for name in _CALTECH_F1},
        seed_keys=("seed", "data.seed"),
        variants={"AnoGAN": Variant("anogan", ANOGAN, "search_loss"), **VARIANTS},
        outlier_detectors=True,
        required={"data.root": "the folder that holds 256_ObjectCategories"},
        published={name: dict(zip(_COMPARATORS, f1, strict=True)) for name, f1 in _CALTECH_F1.items()},
        note="Categories are drawn anew for each seed; half of the test images are outliers. F1 is that of "
        "the outliers, by one rule for all rows; calling every image an outlier has 0.667. The published F1 "
        "are those of Kimura & Yanagihara's table. Their set-up holds no inliers back from learning and "
        "knows no abnormal images; here half of the inliers are for the test only, so figures are not "
        "comparable one to one. What learns from the test images sees them all together, without labels, "
        "and no others: CoP (Rahmani & Atia 2017), REAPER (Lerman et al. 2015), LRR (Liu et al. 2010), DPCP "
        "(Tsakiris & Vidal 2018) and R-graph (You et al. 2017), on pooled features of a pretrained network. "
        "The other baselines and our variants learn from the training images, ALOCC (Sabokrou et al. 2018) "
        "from normal ones alone. AnoGAN is our package with alpha = 1, no encoder and no pretrained "
        "features.",
    ),
}
# Suites of one case, on the data of any configuration: variants, whether baselines are run, note.
ON_ANY_DATA = {
    "ablation": (ABLATIONS, False, "Each row leaves one thing out of the full method or adds one."),
    "generator": (
        GENERATOR,
        True,
        "What the GAN finds without the patch discriminator and what is fitted to features: each component "
        "alone, and the score of them together.",
    ),
    "transfer": (
        TRANSFER,
        True,
        "One and the same configuration on any data: the whole score, and what finds defects without labels.",
    ),
}
NAMES = (*SUITES, *ON_ANY_DATA)


def suite_of(name: str, config_name: str) -> Suite:
    """The suite of a name.

    config_name: of the configuration whose data one of ON_ANY_DATA is on, "elpv", say.
    """
    if name in SUITES:
        return SUITES[name]
    seed_keys = ("seed", "data.seed") if config_name in ("surface", "caltech256") else ("seed",)
    variants, baselines, note = ON_ANY_DATA[name]
    return Suite(
        config_name,
        cases={config_name: {}},
        seed_keys=seed_keys,
        variants=variants,
        baselines=baselines,
        note=note,
    )


@dataclasses.dataclass(frozen=True)
class Selection:
    """What of a suite is run; None: all.

    Names are those of the tables; `cases` may also name parts, such as "digit 4".
    """

    fast: bool = False
    cases: tuple[str, ...] | None = None
    variants: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None

    def of(self, suite: Suite, methods: Mapping) -> tuple["Suite", dict, tuple[int, ...]]:
        """(the suite reduced to what is selected, the baselines chosen of `methods`, the seeds).

        Raises: RunError for a name or a seed that there is not.
        """
        given = _known(self.cases, [*suite.cases, *filter(None, suite.parts)], "cases")
        cases = _picked(suite.cases, given)
        parts = _picked(suite.parts, given)
        if self.fast and len(parts) == len(suite.parts):
            parts = {name: parts[name] for name in suite.fast_parts}
        methods = methods if suite.baselines else {}
        rows = _known(self.variants, [*suite.variants, *methods], "variants")
        variants = {name: v for name, v in suite.variants.items() if self.variants is None or name in rows}
        methods = {name: m for name, m in methods.items() if self.variants is None or name in rows}
        seeds = self.seeds or (FAST_SEEDS if self.fast else SEEDS)
        if len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise RunError(f"seeds must be different numbers of at least 0, got {', '.join(map(str, seeds))}")
        return dataclasses.replace(suite, cases=cases, parts=parts, variants=variants), methods, seeds


def _known(names, allowed: list[str], what: str) -> tuple[str, ...]:
    unknown = [name for name in names or () if name not in allowed]
    if unknown:
        raise RunError(f"{what}: {unknown[0]!r} is not one of {', '.join(allowed)}")
    return tuple(names or ())


def _picked(items: Mapping, names) -> dict:
    """The named ones of a mapping; all of them where none is named."""
    return {name: value for name, value in items.items() if name in names} or dict(items)
