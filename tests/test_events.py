"""TensorBoard's own reader reads the event files back, in a process where TensorFlow cannot be imported."""

import subprocess
import sys

import numpy as np
import pytest

from semi_anogan.training.events import EventWriter

ROUND_TRIP = """
import sys
sys.modules["tensorflow"] = None  # any import of it fails
import io
import numpy as np
from PIL import Image
from semi_anogan.training.events import EventWriter

folder = sys.argv[1] + "/events"
grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
color = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
writer = EventWriter(folder)
writer.scalars(1000, {"loss/generator": 0.5, "loss/discriminator": np.float32(1.25)})
writer.scalars(2000, {"loss/generator": np.array(0.25)})
writer.image(2000, "samples", grey)
writer.close()
again = EventWriter(folder)  # a resumed run
again.scalars(3000, {"loss/generator": float("nan")})
again.image(3000, "samples", color)
again.flush()

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(folder, size_guidance={"images": 0})
events.Reload()
assert [(e.step, e.value) for e in events.Scalars("loss/generator")][:2] == [(1000, 0.5), (2000, 0.25)]
third = events.Scalars("loss/generator")[2]
assert third.step == 3000 and np.isnan(third.value)
assert [(e.step, e.value) for e in events.Scalars("loss/discriminator")] == [(1000, 1.25)]
first, second = events.Images("samples")
assert (first.step, first.height, first.width) == (2000, 3, 4)
np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(first.encoded_image_string))), grey)
np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(second.encoded_image_string))), color)
print("read back")
"""


def test_round_trip_without_tensorflow(tmp_path):
    command = [sys.executable, "-c", ROUND_TRIP, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "read back" in done.stdout, done.stderr


def test_tensorflow_is_not_loaded_where_it_is_installed(tmp_path):
    code = (
        "import sys; from semi_anogan.training.events import EventWriter\n"
        "assert 'tensorboard' not in sys.modules\n"
        f"w = EventWriter({str(tmp_path)!r}); w.scalars(1, {{'a': 1.0}}); w.close()\n"
        "assert 'tensorflow' not in sys.modules and 'tensorboard' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4)), np.zeros((4, 4, 1), np.uint8), np.zeros((2, 4, 4, 3), np.uint8)]
)
def test_bad_images(tmp_path, image):
    writer = EventWriter(tmp_path)
    with pytest.raises(ValueError, match="samples"):
        writer.image(0, "samples", image)
    writer.close()
