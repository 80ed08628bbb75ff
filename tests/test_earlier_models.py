"""Models that an earlier version saved: tests/data/before holds two, with all their variables.

model.keras has random values; model_with_features.keras, packed anew, another constant in each variable. The
version that saved them called the patch discriminator "patches", and kept the whole section `features` of the
configuration with the model.
"""

import pathlib

import keras
import numpy as np
import pytest

from semi_anogan.networks.model import SemiAnoGAN
from semi_anogan.networks.patch_discriminator import FeatureSettings

BEFORE = pathlib.Path(__file__).parent / "data/before"
SIZES = {"resolution": 8, "channels": 1, "latent_channels": 8, "filters_base": 64, "filters_cap": 8}
# As the configuration's section was then.
EARLIER_FEATURES = {
    "name": "efficientnet_lite0",
    "weights": None,
    "resolution": 16,
    "patches": True,
    "trainable_blocks": 0,
    "top_share": 0.1,
    "memory": 4000,
    "memory_trim": 0.05,
    "likeness": True,
    "classifier": True,
    "projected": True,
    "search": False,
}


def loaded(name):
    """(model, the variables that were saved, those of the optimizer after those of the model)."""
    with np.load(BEFORE / f"{name}.npz") as file:
        return keras.saving.load_model(BEFORE / f"{name}.keras"), [file[n] for n in sorted(file.files)]


@pytest.mark.parametrize(("name", "count"), [("model", 71), ("model_with_features", 123)])
def test_a_model_of_before_has_the_same_variables_to_the_last_bit(name, count):
    model, expected = loaded(name)
    found = [keras.ops.convert_to_numpy(v) for v in model.variables + model.optimizer.variables]
    assert type(model) is SemiAnoGAN and len(model.variables) == count
    for a, b in zip(found, expected, strict=True):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    values = [v.tobytes() for v in expected if v.size > 1]
    assert len(set(values)) == len(values)  # so that a change of places would be seen


def test_a_model_of_before_has_its_settings_and_its_objective():
    model, _ = loaded("model")
    config = model.get_config()
    assert {key: config[key] for key in SIZES} == SIZES
    assert (config["encoder"], config["seed"], config["top_share"]) == (True, 3, 0.01)
    assert model.features == FeatureSettings() and model.encoder is not None
    assert model.objective == {
        "alpha": 0.3,
        "adversarial": "non_saturating",
        "penalty_weight": 0.5,
        "penalty_share": 0.25,
        "average_decay": 0.995,
        "synthetic_weight": 0.25,
        "trim_share": None,
        "augment": "color,cutout",
    }
    assert int(model.optimizer.iterations) == 17


def test_the_patches_of_before_are_the_patch_discriminator():
    model, _ = loaded("model_with_features")
    assert model.features == FeatureSettings.of_saved(EARLIER_FEATURES)
    networks = (model.patch_discriminator, model.patch_discriminator_average)
    networks += (model.projected, model.projected_average)
    assert [network.top_share for network in networks] == [0.1] * 4
    images = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 1)).astype(np.float32)
    assert len({float(network(images)[0][0]) for network in networks}) == 4


def test_feature_settings_of_before():
    found = FeatureSettings.of_saved({**EARLIER_FEATURES, "trainable_blocks": 2, "patches": False})
    assert found == FeatureSettings(
        name="efficientnet_lite0",
        weights=None,
        resolution=16,
        patch_discriminator=False,
        trainable_blocks=2,
        top_share=0.1,
        projected=True,
    )
    assert FeatureSettings.of_saved(EARLIER_FEATURES).patch_discriminator
    assert FeatureSettings.of_saved({}) == FeatureSettings() and not FeatureSettings().name


def test_feature_settings_of_now_and_unknown_ones():
    settings = {"name": "MobileNetV2", "weights": "w.h5", "patch_discriminator": False}
    found = FeatureSettings.of_saved(settings)
    assert (found.name, found.weights, found.patch_discriminator) == ("MobileNetV2", "w.h5", False)
    with pytest.raises(TypeError, match="resolutoin"):
        FeatureSettings.of_saved({"name": "MobileNetV2", "resolutoin": 64})
