"""The schedule, for an example worked out by hand."""

import math

import pytest

from semi_anogan.networks.schedule import Schedule, Stage

# 10,000 images, half of them for growing. Stages 4, 8, 16: two whole ones and half of the last (its fading)
# share 5,000 images, so a stage has 2,000 and each fading 1,000. The rate falls over the last 2,500 images.
EXAMPLE = Schedule(
    resolution=16,
    total_kimages=10.0,
    start_resolution=4,
    growing_share=0.5,
    batch_size=32,
    batch_pixels=4096,
    learning_rate=0.002,
    decay_share=0.25,
)


@pytest.mark.parametrize(
    "images_seen, resolution, fade, batch_size, learning_rate",
    [
        (0, 4, 1.0, 32, 0.002),
        (1999, 4, 1.0, 32, 0.002),
        (2000, 8, 0.0, 32, 0.002),  # 4096 pixels are 64 images of 8 x 8
        (2250, 8, 0.25, 32, 0.002),
        (3000, 8, 1.0, 32, 0.002),
        (3999, 8, 1.0, 32, 0.002),
        (4000, 16, 0.0, 16, 0.002),  # and 16 of 16 x 16
        (4900, 16, 0.9, 16, 0.002),
        (5000, 16, 1.0, 16, 0.002),
        (7500, 16, 1.0, 16, 0.002),
        (8750, 16, 1.0, 16, 0.001),
        (9500, 16, 1.0, 16, 0.0004),
        (9750, 16, 1.0, 16, 0.0002),  # a tenth, and not less after
        (9999, 16, 1.0, 16, 0.0002),
        (10000, 16, 1.0, 16, 0.0002),
    ],
)
def test_example_by_hand(images_seen, resolution, fade, batch_size, learning_rate):
    stage = EXAMPLE.stage(images_seen)
    assert (stage.resolution, stage.batch_size) == (resolution, batch_size)
    assert stage.fade == pytest.approx(fade) and stage.learning_rate == pytest.approx(learning_rate)


def test_resolutions_and_total():
    assert EXAMPLE.resolutions() == [4, 8, 16] and EXAMPLE.total_images == 10000
    assert Schedule(128, 0.5, start_resolution=32).resolutions() == [32, 64, 128]


def test_growth_never_goes_back():
    stages = [EXAMPLE.stage(n) for n in range(0, 10001, 50)]
    grown = [(s.resolution, s.fade) for s in stages]
    assert grown == sorted(grown) and all(0 <= s.fade <= 1 for s in stages)
    rates = [s.learning_rate for s in stages]
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("options", [{"start_resolution": 16}, {"growing_share": 0.0}])
def test_without_growing_every_step_is_at_full_resolution(options):
    schedule = Schedule(16, 1.0, decay_share=0.0, learning_rate=0.001, **options)
    # A batch of 32 needs 8192 pixels, the default limit is far above.
    assert {schedule.stage(n) for n in range(0, 1001, 100)} == {Stage(16, 1.0, 32, 0.001)}


def test_batch_is_never_empty():
    assert Schedule(64, 1.0, growing_share=0.0, batch_pixels=1000).stage(0).batch_size == 1


@pytest.mark.parametrize(
    "key, value",
    [
        ("total_kimages", 0),
        ("total_kimages", -2.5),
        ("patch_kimages", -1.0),
        ("patch_batch_size", 0),
        ("patch_learning_rate", 0.0),
        ("growing_share", 1.0),
        ("growing_share", -0.1),
        ("start_resolution", 2),
        ("start_resolution", 12),
        ("start_resolution", 32),
        ("batch_size", 0),
        ("batch_pixels", 0),
        ("learning_rate", 0.0),
        ("decay_share", 1.1),
    ],
)
def test_errors_name_key_and_value(key, value):
    with pytest.raises(ValueError, match=rf"^schedule\.{key} must be .*, got {value}$"):
        Schedule(**{"resolution": 16, "total_kimages": 1.0, key: value})


def test_the_patch_discriminator_follows_the_gan():
    # 10,000 images of the GAN as before, then 1,000 of the patch discriminator; each step has 10 of these, so
    # steps are hundredths.
    schedule = Schedule(16, 10.0, patch_kimages=1.0, patch_batch_size=10, patch_learning_rate=0.02)
    assert schedule.gan_images == 10000 and schedule.total_images == 11000
    assert schedule.stage(9999).trains == "gan"
    first, middle, last = (schedule.stage(10000 + n) for n in (0, 500, 990))
    assert {(s.resolution, s.fade, s.batch_size, s.trains) for s in (first, middle, last)} == {
        (16, 1.0, 10, "patch_discriminator")
    }
    assert first.learning_rate == pytest.approx(0.02 * 0.1)  # a tenth of the rise
    assert middle.learning_rate == pytest.approx(0.02 * 0.5)
    assert last.learning_rate == pytest.approx(0.02 * 0.5 * (1 - math.cos(math.pi / 100)))


def test_without_a_patch_discriminator_the_schedule_ends_with_the_gan():
    assert Schedule(16, 1.0).stage(999).trains == Schedule(16, 1.0).stage(1000).trains == "gan"
