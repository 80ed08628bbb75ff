"""Differentiable augmentation: pixels by hand, its gradient, masks, and what the losses make of it."""

import keras
import numpy as np
import pytest
from test_model import EAGER, MIXTURE_ALONE, batch, compiled, images_of, logits_by_hand, softplus

from helpers.trained import tiny_model
from semi_anogan.backend import input_gradients
from semi_anogan.networks.augmentation import DRAWS, augment

BRIGHTNESS, SATURATION, CONTRAST, ROWS, COLUMNS, HOLE_ROW, HOLE_COLUMN = range(DRAWS)


def draws(count=1, **values):
    """Draws that change nothing in color and translation, but for those given by name."""
    neutral = np.full((count, DRAWS), 0.5, np.float32)
    for name, value in values.items():
        neutral[:, globals()[name]] = value
    return neutral


def augmented(images, kinds, of=None, masks=None):
    moved, moved_masks = augment(images, draws(len(images)) if of is None else of, kinds, masks)
    return np.asarray(moved), None if moved_masks is None else np.asarray(moved_masks)


@pytest.mark.parametrize("kinds", [(), ("color", "translation")])
def test_the_middle_of_all_draws_changes_nothing(kinds):
    images = images_of(3)
    np.testing.assert_allclose(augmented(images, kinds)[0], images, atol=1e-6)


def test_color_by_hand():
    image = np.float32([[[[0.2, 0.4, 0.6]], [[-0.2, 0.0, 0.2]]]])  # [1, 2, 1, 3]
    np.testing.assert_allclose(augmented(image, ("color",), draws(BRIGHTNESS=0.8))[0], image + 0.3, atol=1e-6)
    grey = np.float32([[[[0.4] * 3], [[0.0] * 3]]])
    np.testing.assert_allclose(augmented(image, ("color",), draws(SATURATION=0.0))[0], grey, atol=1e-6)
    np.testing.assert_allclose(
        augmented(image, ("color",), draws(SATURATION=0.75))[0], grey + 1.5 * (image - grey), atol=1e-6
    )
    np.testing.assert_allclose(
        augmented(image, ("color",), draws(CONTRAST=0.0))[0], 0.2 + 0.5 * (image - 0.2), atol=1e-6
    )
    one_channel = image[..., :1]
    np.testing.assert_allclose(
        augmented(one_channel, ("color",), draws(SATURATION=0.0))[0], one_channel, atol=1e-6
    )


@pytest.mark.parametrize(
    "row_draw, column_draw, down, right", [(0.0, 0.5, -2, 0), (0.99, 0.0, 2, -2), (0.7, 0.3, 1, -1)]
)
def test_translation_by_hand(row_draw, column_draw, down, right):
    """16 pixels move by up to 2: five equally likely places; from outside comes 0."""
    image = np.random.default_rng(0).uniform(0.1, 1.0, (1, 16, 16, 2)).astype(np.float32)
    padded = np.pad(image, [(0, 0), (2, 2), (2, 2), (0, 0)])
    expected = padded[:, 2 - down : 18 - down, 2 - right : 18 - right]
    moved = augmented(image, ("translation",), draws(ROWS=row_draw, COLUMNS=column_draw))[0]
    np.testing.assert_allclose(moved, expected, atol=1e-6)


def test_cutout_by_hand():
    """A square of 4 of 8 pixels; its middle may be anywhere, so it may hang over the border."""
    image = np.ones((1, 8, 8, 1), np.float32)
    cut = augmented(image, ("cutout",), draws(HOLE_ROW=0.5, HOLE_COLUMN=0.0))[0]  # middles 4 and 0
    expected = np.ones((8, 8))
    expected[2:6, 0:2] = 0.0
    np.testing.assert_array_equal(cut[0, ..., 0], expected)
    last = augmented(image, ("cutout",), draws(HOLE_ROW=0.999, HOLE_COLUMN=0.999))[0][0, ..., 0]  # middles 8
    assert last.sum() == 60 and last[6:, 6:].sum() == 0


def test_each_image_by_its_own_draws_and_all_kinds_in_turn():
    images, of = images_of(2), np.random.default_rng(1).random((2, DRAWS), dtype=np.float32)
    together = augmented(images, ("color", "translation", "cutout"), of)[0]
    for index in range(2):
        one = images[index : index + 1]
        for kind in ("color", "translation", "cutout"):
            one = augmented(one, (kind,), of[index : index + 1])[0]
        np.testing.assert_allclose(together[index], one[0], atol=1e-6)


def test_gradient_goes_through():
    """The augmentation is affine but for color's means: differences along a direction are the gradient."""
    images, of = images_of(2), np.random.default_rng(2).random((2, DRAWS), dtype=np.float32)
    kinds, direction = ("color", "translation", "cutout"), images_of(2, seed=5)
    weights = images_of(2, seed=6)

    def value(x):
        return keras.ops.sum(augment(x, of, kinds)[0] * weights)

    gradient = np.asarray(input_gradients(value, keras.ops.convert_to_tensor(images))[1])
    assert float(value(images + direction) - value(images)) == pytest.approx(
        (gradient * direction).sum(), rel=1e-3
    )
    assert np.abs(gradient).max() > 0.1


def test_masks_move_with_the_image_and_never_vanish():
    image, mask = images_of(1, low=0.5), np.zeros((1, 8, 8, 1), np.float32)
    mask[0, 3, 3] = 1.0
    _, moved = augmented(image, ("translation",), draws(ROWS=0.99, COLUMNS=0.0), mask)
    assert np.argwhere(moved[0, ..., 0]).tolist() == [[4, 2]]  # 8 pixels move by up to 1
    over = draws(HOLE_ROW=0.5, HOLE_COLUMN=0.5)
    kept, moved = augmented(
        image, ("cutout",), over, mask
    )  # rows and columns 2 to 5 would go, and the defect with them
    np.testing.assert_array_equal(moved, mask)
    np.testing.assert_array_equal(kept, image)
    mask[0, 7, 7] = 1.0
    cut, moved = augmented(image, ("cutout",), over, mask)
    assert np.argwhere(moved[0, ..., 0]).tolist() == [[7, 7]] and cut[0, 3, 3, 0] == 0.0


def test_losses_are_those_of_augmented_images_by_hand():
    """The discriminator sees normal, abnormal and generated images changed, each by its own draws."""
    rng = np.random.default_rng(3)
    kinds = ("color", "translation", "cutout")
    data = {**batch(), "augment": rng.random((8, DRAWS), dtype=np.float32)}
    data["augment_generated"] = rng.random((6, DRAWS), dtype=np.float32)
    model = compiled(0.5, penalty_weight=0.0, augment="color,translation,cutout")
    changed = {**data, "images": augmented(data["images"], kinds, data["augment"])[0]}
    logits, _, generated = logits_by_hand(model, changed)
    generated = augmented(generated, kinds, data["augment_generated"])[0]
    on_generated = np.asarray(model.discriminator(generated, weights=np.ones(6, np.float32))[0])
    discriminator_loss, generator_loss, _ = model.losses(model.unpack(data))
    expected = (
        softplus(-logits[:6]).mean() + 0.5 * softplus(on_generated).mean() + 0.5 * softplus(logits[6:]).mean()
    )
    assert float(discriminator_loss) == pytest.approx(expected, rel=1e-4)
    assert float(generator_loss) == pytest.approx(softplus(-on_generated).mean(), rel=1e-4)


def test_draws_are_made_where_the_batch_brings_none():
    model = compiled(augment="color")
    of_images, of_generated = model.unpack(batch()).augmentation
    assert np.asarray(of_images).shape == (8, DRAWS) and np.asarray(of_generated).shape == (6, DRAWS)
    assert 0 <= np.asarray(of_images).min() < 0.1 < 0.9 < np.asarray(of_images).max() < 1
    assert compiled().unpack(batch()).augmentation is None
    model = tiny_model()
    model.compile(augment="color,translation", **MIXTURE_ALONE, run_eagerly=EAGER)
    before = np.array(model.generator.enter.kernel)
    model.fit(images_of(8), batch_size=4, verbose=0)
    assert np.abs(np.array(model.generator.enter.kernel) - before).max() > 1e-5
    with pytest.raises(ValueError, match="objective.augment"):
        compiled(augment="blur")
