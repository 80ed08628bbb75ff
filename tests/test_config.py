"""The settings: one table of keys, defaults and ranges; keys that there are not."""

import dataclasses
import importlib
import inspect

import pytest

from semi_anogan import cli
from semi_anogan.config import (
    SECTIONS,
    Key,
    check_ranges,
    default,
    default_config,
    flat,
    nearest_key,
    words,
)
from semi_anogan.errors import ConfigError
from semi_anogan.runs.aspect import features_side
from semi_anogan.runs.check_config import check

KEYS = {f"{section}.{name}": key for section, keys in SECTIONS.items() for name, key in keys.items()}
ANYTHING = Key._field_defaults["holds"]


# The table


@pytest.mark.parametrize("name", KEYS)
def test_every_key_says_what_it_means_and_has_a_default_in_its_range(name):
    key = KEYS[name]
    assert key.about.strip() and key.holds(key.default)
    assert (key.default is None) == (
        key.kind is not None
    )  # a key without a value has a kind, so that it is typed
    assert key.allowed or key.holds is ANYTHING or key.kind  # a range is told in words
    assert default(name) == key.default


def test_the_configuration_holds_every_key_at_its_default():
    values = default_config().to_dict()
    assert (values.pop("name"), values.pop("seed")) == ("surface", 0)
    assert values == {s: {name: key.default for name, key in keys.items()} for s, keys in SECTIONS.items()}
    assert default_config() == default_config() and default_config().is_locked


def test_the_defaults_and_every_installed_configuration_can_be_run():
    check(default_config())
    assert cli.installed_configs() == ["caltech256", "elpv", "folder", "gpu", "mnist", "smoke", "surface"]
    for name in cli.installed_configs():
        check(importlib.import_module(f"semi_anogan.configs.{name}").get_config())


def test_words():
    assert words("") == words(" , ") == () and words("cutout, color") == ("cutout", "color")


# Each section's keys are the arguments of what receives it


def _receivers():
    """(section, function, the names that differ there, the defaults that are the function's own)."""
    from semi_anogan.data.batches import Batches, ImageStore
    from semi_anogan.data.splits import split
    from semi_anogan.data.synthetic import TRAINING_KINDS
    from semi_anogan.networks.latent_search import LatentSearch
    from semi_anogan.networks.model import SemiAnoGAN
    from semi_anogan.networks.patch_discriminator import FeatureSettings
    from semi_anogan.networks.schedule import Schedule
    from semi_anogan.scoring.detector import Detector
    from semi_anogan.training.fit_detector import fit_parts

    search = {name: key for name, key in SECTIONS["search"].items() if name != "init"}
    of_model = {"init": SECTIONS["search"]["init"]}
    held_out = {"hold_out_share": SECTIONS["calibration"]["hold_out_share"]}
    false_alarms = {"false_alarm_rate": SECTIONS["calibration"]["false_alarm_rate"]}
    return [
        ("objective", SECTIONS["objective"], SemiAnoGAN.compile, {}),
        # A schedule by itself has no patch discriminator to train.
        ("schedule", SECTIONS["schedule"], Schedule, {"patch_kimages": 0.0}),
        ("model", SECTIONS["model"], SemiAnoGAN, {}),
        # A model made in Python has the features it asks for; nothing is fine-tuned where nobody has counted
        # the known images.
        (
            "features",
            SECTIONS["features"],
            FeatureSettings,
            {"name": "", "trainable_blocks": 0, "patch_discriminator": False, "sizes": ""},
        ),
        ("search", search, LatentSearch, {}),
        ("search, of a model", of_model, LatentSearch.of_model, {}),
        # By themselves batches hold real images only, and the kinds are split into words.
        (
            "batches",
            SECTIONS["batches"],
            Batches,
            {"synthetic_share": 0.0, "masks": False, "synthetic_kinds": TRAINING_KINDS},
        ),
        ("images", SECTIONS["images"], ImageStore, {}),
        ("images, of a detector", {"tile": SECTIONS["images"]["tile"]}, Detector, {}),
        ("score", SECTIONS["score"], Detector, {"components": ()}),  # the text's words
        ("map", {"map_sigma_px": SECTIONS["map"]["sigma_px"]}, Detector, {}),
        ("parts", SECTIONS["parts"], fit_parts, {}),
        ("calibration, of the data", held_out, split, {}),
        ("calibration, of a detector", false_alarms, Detector.calibrate, {}),
    ]


@pytest.mark.parametrize(("keys", "function", "own"), [pytest.param(*r[1:], id=r[0]) for r in _receivers()])
def test_a_sections_keys_are_arguments_whose_defaults_stand_in_the_table(keys, function, own):
    arguments = inspect.signature(function).parameters
    assert set(keys) <= set(arguments)
    assert set(own) <= set(keys)
    for name, key in keys.items():
        given = arguments[name].default
        if name in own:
            assert given == own[name] != key.default
        else:
            assert given is inspect.Parameter.empty or given == key.default


@pytest.mark.parametrize("section", ["model", "features"])
def test_the_networks_by_themselves_have_the_tables_defaults(section):
    from semi_anogan.networks.gan import Discriminator, _GrowingNetwork
    from semi_anogan.networks.patch_discriminator import PatchDiscriminator

    networks = {"model": (_GrowingNetwork, Discriminator), "features": (PatchDiscriminator,)}
    named = [
        (name, argument.default)
        for network in networks[section]
        for name, argument in inspect.signature(network).parameters.items()
        if name in SECTIONS[section] and name != "trainable_blocks"
    ]
    assert named and all(value == SECTIONS[section][name].default for name, value in named)


def test_the_sections_of_the_model_leave_no_setting_out():
    from semi_anogan.networks.model import SemiAnoGAN
    from semi_anogan.networks.patch_discriminator import FeatureSettings
    from semi_anogan.networks.schedule import Schedule

    def names(function):
        return set(inspect.signature(function).parameters)

    assert names(SemiAnoGAN.compile) - set(SECTIONS["objective"]) == {"self", "optimizer", "kwargs"}
    assert {field.name for field in dataclasses.fields(FeatureSettings)} == set(SECTIONS["features"])
    assert {field.name for field in dataclasses.fields(Schedule)} - set(SECTIONS["schedule"]) == {
        "resolution",
        "aspect",
    }
    assert names(SemiAnoGAN) - set(SECTIONS["model"]) == {"features", "seed", "kwargs"}


def test_the_datas_keys_are_the_catalogues_and_the_options_of_its_sources():
    from semi_anogan.data import catalog

    options = set()
    for module, function in catalog.SOURCES.values():
        source = getattr(importlib.import_module(f"semi_anogan.data.sources.{module}"), function)
        options |= set(inspect.signature(source).parameters)
    named = {"name", "reviewed", "white", "black", "max_pixels", "ignore", "ignore_digest"}
    assert named <= set(inspect.signature(catalog.load).parameters)
    assert set(SECTIONS["data"]) - named <= options
    assert named & options <= {"max_pixels"}  # which a source that looks at files is given as well
    assert all(key.default is None for name, key in SECTIONS["data"].items() if name != "name")


# Keys that there are not


@pytest.mark.parametrize(
    ("section", "name"),
    [("data", "flisp"), ("batches", "tile"), ("features", "memory"), ("search", "batch_size")],
)
def test_an_unknown_key_is_an_error_that_names_it(section, name):
    config = default_config()
    with pytest.raises(AttributeError, match=name):
        setattr(config[section], name, "x")
    with pytest.raises(AttributeError, match=name):
        getattr(config[section], name)
    with pytest.raises((AttributeError, KeyError), match=name):
        config.update_from_flattened_dict({f"{section}.{name}": "x"})
    with pytest.raises(KeyError, match=name):
        config.update({section: {name: "x"}})
    assert config == default_config()


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("data.flisp", "batches.flips"),
        ("data.flips", "batches.flips"),
        ("features.memroy", "parts.memory"),
        ("model.resolutoin", "model.resolution"),
        ("objective.top_share", "model.top_share or features.top_share"),
        ("search.batch_size", "schedule.batch_size or score.batch_size"),
        ("sed", "seed"),
        ("lerning_rate", "schedule.learning_rate"),
    ],
)
def test_the_nearest_key_to_an_unknown_one(key, nearest):
    assert set(nearest_key(key).split(" or ")) == set(nearest.split(" or "))


def test_flat():
    assert flat({"a": 1, "b": {"c": {"d": 2}, "e": None}}) == {"a": 1, "b.c.d": 2, "b.e": None}


# Ranges


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("batches.flips", "hx", 'made of the letters "h", "v" and "r"'),
        ("batches.shift_px", -1, "at least 0"),
        ("batches.abnormal_share", 0.0, "above 0"),
        ("batches.synthetic_share", 1.5, "in (0, 1]"),
        ("batches.synthetic_kinds", "crack,dent", None),
        ("images.cache_megabytes", -1, "at least 0"),
        ("model.resolution", 100, "a power of two from 8 to 1024"),
        ("model.resolution", 4, "a power of two from 8 to 1024"),
        ("model.channels", 2, "1 (grey) or 3 (RGB)"),
        ("model.latent_channels", 0, "at least 1"),
        ("model.top_share", 0.0, "in (0, 1]"),
        ("features.resolution", 96, "model.resolution times 1, 2, 4, ..."),
        ("features.trainable_blocks", 17, "0 to 16"),
        ("features.top_share", 1.01, "in (0, 1]"),
        ("parts.memory", -1, "at least 0"),
        ("parts.memory_doubt", -0.5, "at least 0"),
        ("objective.alpha", 0.0, "in (0, 1]"),
        ("objective.alpha", float("nan"), "in (0, 1]"),
        ("objective.adversarial", "hinge", "one of non_saturating, wgan_gp"),
        ("objective.penalty_share", 0.0, "in (0, 1]"),
        ("objective.synthetic_weight", -0.5, "at least 0"),
        ("objective.trim_share", 1.0, "in [0, 1)"),
        ("objective.augment", "color,blur", "made of color, translation, cutout"),
        ("objective.average_decay", 1.0, "in [0, 1)"),
        ("objective.reconstruction_weight", -1.0, "at least 0"),
        ("objective.push_weight", -0.1, "at least 0"),
        ("objective.latent_noise", -0.1, "at least 0"),
        ("schedule.total_kimages", 0.0, "at least 0.001"),
        ("schedule.start_resolution", 12, "a power of two from 4 to 64"),
        ("schedule.start_resolution", 128, "a power of two from 4 to 64"),
        ("schedule.growing_share", 1.0, "in [0, 1)"),
        ("schedule.batch_size", 0, "at least 1"),
        ("schedule.learning_rate", 0.0, "above 0"),
        ("train.distribution", "two", "one of auto, one_device, mirrored, multi_worker"),
        ("train.log_steps", 0, "at least 1"),
        ("train.checkpoint_kimages", 0.0, "above 0"),
        ("score.batch_size", 0, "at least 1"),
        ("search.init", "noise", "one of encoder, candidates"),
        ("search.iterations", -1, "at least 0"),
        ("search.feature_weight", 1.5, "in [0, 1]"),
        ("search.restarts", 0, "at least 1"),
        ("search.pretrained_weight", -0.5, "at least 0"),
        ("calibration.hold_out_share", 1.0, "between 0 and 1"),
        ("calibration.false_alarm_rate", 0.0, "between 0 and 1"),
        ("map.sigma_px", -0.5, "at least 0"),
    ],
)
def test_a_value_out_of_its_range_is_named_with_key_and_range(key, value, allowed):
    config = default_config()
    config.update_from_flattened_dict({key: value})
    with pytest.raises(ConfigError) as caught:
        check(config)
    told = str(caught.value)
    assert told.startswith(f"{key} must be {allowed or 'made of '}") and told.endswith(f", got {value!r}")


def test_check_ranges_names_the_first_of_a_sections_settings():
    check_ranges("search", iterations=0, restarts=1)
    with pytest.raises(ConfigError, match="^search.restarts must be at least 1, got 0$"):
        check_ranges("search", iterations=5, restarts=0, candidates=0)
    assert issubclass(ConfigError, ValueError)


def test_larger_images_alone_need_no_other_resolution_of_the_features():
    config = default_config()
    config.model.resolution = 256
    check(config)
    assert features_side(config) == 256
    config.features.resolution = 64  # this somebody has asked for
    with pytest.raises(ConfigError, match="features.resolution must be model.resolution times"):
        check(config)


def test_without_features_their_resolution_does_not_count():
    config = default_config()
    config.features.name, config.features.resolution = "", 96
    check(config)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"score.components": "memry"}, "score.components must be among residual, .*, got memry"),
        ({"score.components": "classifier"}, "at least one must make a map"),
        ({"score.components": "memory", "parts.memory": 0}, "the settings switch off memory; "),
        (
            {"score.components": "patches", "features.patch_discriminator": False},
            "the settings switch off patches; ",
        ),
        ({"score.components": "likeness", "features.name": ""}, "the settings switch off likeness; "),
    ],
)
def test_components_that_the_settings_leave_without_a_map_are_named(changes, told):
    config = default_config()
    config.update_from_flattened_dict(changes)
    with pytest.raises(ConfigError, match=told):
        check(config)
