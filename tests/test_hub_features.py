"""Features of a DINOv2 of keras-hub: of a tiny one with random weights, where keras-hub is installed."""

import sys

import numpy as np
import pytest

from semi_anogan.networks.pretrained import hub
from semi_anogan.networks.pretrained.load import load_features


@pytest.fixture(scope="module", params=[0, 2], ids=["plain", "registers"])
def preset(request, tmp_path_factory):
    """(folder, backbone): patches of 14 x 14, three blocks, position embeddings of a grid of 4 x 4."""
    keras_hub = pytest.importorskip("keras_hub")
    backbone = keras_hub.models.DINOV2Backbone(
        patch_size=14,
        num_layers=3,
        hidden_dim=8,
        num_heads=2,
        intermediate_dim=16,
        num_register_tokens=request.param,
        image_shape=(56, 56, 3),
        position_embedding_shape=(56, 56),
    )
    rng = np.random.default_rng(0)
    for variable in backbone.variables:
        if variable.dtype == "float32":
            variable.assign(rng.normal(0, 0.3, variable.shape))
    # Positions as strong as what the patches show. A preset keeps those it was trained with; here both are
    # the same.
    positions = backbone.embeddings.position_embeddings
    positions.assign(rng.normal(0, 5, positions.shape))
    backbone.embeddings.interpolated_position_embeddings.assign(positions)
    folder = tmp_path_factory.mktemp("preset") / "tiny"
    backbone.save_to_preset(folder)
    return str(folder), backbone


def test_features_are_those_of_the_networks_blocks(preset):
    """Of 64 x 64 pixels all alike, which no resizing changes: 4 x 4 patches of 14 x 14."""
    folder, backbone = preset
    network = load_features(f"keras_hub:{folder}")
    network.build()
    assert network.strides == [16, 32] and network.channels == [8, 8] and network.variables == []
    image = np.ones((2, 64, 64, 3), np.float32) * np.float32([-0.5, 0.0, 0.8])
    standardised = (np.float32([0.25, 0.5, 0.9]) - hub.MEAN) / np.float32(hub.DEVIATION)
    blocks, first = [], 1 + backbone.num_register_tokens
    x = backbone.embeddings(np.ones((2, 56, 56, 3), np.float32) * standardised.astype(np.float32))
    _, stages = backbone.encoder(x)
    for stage in stages.values():
        blocks.append(np.asarray(backbone.layernorm(stage))[:, first:].reshape(2, 4, 4, 8))
    middle, coarse = network(image)
    assert np.std(blocks[1], axis=(1, 2)).max() > 0.05  # positions make patches differ
    np.testing.assert_allclose(middle, blocks[1], atol=1e-4)
    expected = blocks[2].reshape(2, 2, 2, 2, 2, 8).mean(axis=(2, 4))
    np.testing.assert_allclose(coarse, expected, atol=1e-4)
    for tuned, frozen in zip(*network.tuned_and_frozen(image), strict=True):
        np.testing.assert_array_equal(tuned, frozen)


def test_images_of_any_shape_and_grey(preset):
    network = load_features(f"keras_hub:{preset[0]}", last_stride=16)
    assert network.strides == [16] and network.channels == [8]
    grey = np.random.default_rng(0).uniform(-1, 1, (1, 40, 96, 1)).astype(np.float32)
    (found,) = network(grey)
    assert found.shape == (1, 3, 6, 8)
    np.testing.assert_array_equal(found, network(np.repeat(grey, 3, axis=-1))[0])


def test_other_presets_are_refused(preset, tmp_path):
    import keras_hub

    other = keras_hub.models.ViTBackbone((28, 28, 3), 14, 1, 2, 8, 16)
    other.save_to_preset(tmp_path / "vit")
    with pytest.raises(ValueError, match="features.name .*vit': is a ViTBackbone; only DINOv2 is taken"):
        load_features(f"keras_hub:{tmp_path}/vit")
    with pytest.raises(ValueError, match="features.name 'keras_hub:./gone': the preset cannot be had: "):
        load_features("keras_hub:./gone")


def test_without_keras_hub(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)  # an import of it fails
    with pytest.raises(
        ValueError, match=r"features.name 'keras_hub:x': needs keras-hub: pip install -e .\[hub\]"
    ):
        load_features("keras_hub:x")
    for arguments, words in (
        ({"weights_file": "w.h5"}, "features.weights must not be given for keras_hub:x, got 'w.h5'"),
        ({"trainable_blocks": 1}, "features.trainable_blocks must be 0 for keras_hub:x, got 1"),
    ):
        with pytest.raises(ValueError, match=words):
            load_features("keras_hub:x", **arguments)
