"""Checkpoints: exact, atomic, and readable after damage."""

import errno
import json
import logging

import numpy as np
import pytest

from semi_anogan.errors import CheckpointError
from semi_anogan.runs import checkpoint

PROGRESS = {"step": 3, "images_seen": 96, "attempt": 0, "seconds": 1.5, "history": {"penalty": [0.25, 1e-7]}}


class Variable:
    def __init__(self, value):
        self.value = np.asarray(value, np.float32)

    shape = property(lambda self: self.value.shape)

    def assign(self, value):
        assert np.shape(value) == self.shape
        self.value = np.asarray(value)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.value, dtype)


class Part:
    """What save and restore need of a model or an optimizer."""

    def __init__(self, *values, optimizer=None):
        self.variables = [Variable(v) for v in values]
        self.optimizer = optimizer

    def values(self):
        return [v.value.tolist() for v in self.variables]


def model(offset=0.0):
    return Part([1.0 + offset, 2.0], 5.0 + offset, optimizer=Part(7.0 + offset))


def empty():
    return Part([0.0, 0.0], 0.0, optimizer=Part(0.0))


def save_steps(folder, *steps):
    return [checkpoint.save(folder, model(step), {**PROGRESS, "step": step}) for step in steps]


def test_round_trip(tmp_path):
    path = checkpoint.save(tmp_path / "new" / "folder", model(), PROGRESS)
    assert path == tmp_path / "new" / "folder" / "step_00000003.npz"
    restored = empty()
    assert checkpoint.restore_latest(path.parent, restored) == PROGRESS
    assert restored.values() == [[1.0, 2.0], 5.0] and restored.optimizer.values() == [7.0]
    assert checkpoint.latest_progress(path.parent) == PROGRESS


def test_optimizer_is_left_out_where_the_model_has_none(tmp_path):
    checkpoint.save(tmp_path, model(), PROGRESS)
    restored = Part([0.0, 0.0], 0.0)
    assert checkpoint.restore_latest(tmp_path, restored) == PROGRESS
    assert restored.values() == [[1.0, 2.0], 5.0]


def test_round_trip_of_a_real_model(tmp_path):
    """Every variable of the networks, their averages and Adam, bit by bit."""
    import keras

    from semi_anogan.networks.model import SemiAnoGAN

    def make(seed):
        keras.utils.set_random_seed(seed)
        made = SemiAnoGAN(resolution=8, latent_channels=4, filters_base=32, filters_cap=4, seed=seed)
        made.compile(keras.optimizers.Adam(0.01, beta_1=0.5))
        return made

    trained, other = make(0), make(1)
    rng = np.random.default_rng(0)
    for variable in [*trained.variables, *trained.optimizer.variables]:
        if "float" in str(variable.dtype):
            variable.assign(rng.standard_normal(variable.shape))
    trained.optimizer.iterations.assign(17)
    checkpoint.save(tmp_path, trained, PROGRESS)
    assert checkpoint.restore_latest(tmp_path, other) == PROGRESS
    before, after = (made.variables + made.optimizer.variables for made in (trained, other))
    pairs = list(zip(before, after, strict=True))
    assert len(pairs) > 60
    for a, b in pairs:
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b), err_msg=a.path
        )
    assert int(other.optimizer.iterations) == 17


def test_no_checkpoint_is_no_error(tmp_path):
    assert checkpoint.restore_latest(tmp_path, model()) is None
    assert checkpoint.restore_latest(tmp_path / "missing", model()) is None
    assert checkpoint.latest_progress(tmp_path / "missing") is None


def test_the_last_two_are_kept(tmp_path):
    (tmp_path / "step_00000001.npz.tmp").write_bytes(b"left by a process that was killed")
    (tmp_path / "step_notes.npz").write_bytes(b"not ours")
    save_steps(tmp_path, 1, 2, 30, 100)
    assert [p.name for p in checkpoint.steps(tmp_path)] == ["step_00000030.npz", "step_00000100.npz"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "step_00000030.npz",
        "step_00000100.npz",
        "step_notes.npz",
    ]
    restored = empty()
    assert checkpoint.restore_latest(tmp_path, restored)["step"] == 100
    assert restored.values() == [[101.0, 2.0], 105.0]


def truncate(raw):
    return raw[: len(raw) // 2]


def flip_data(raw):
    """One bit of the first variable's values."""
    at = raw.index(np.float32(3.0).tobytes())
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def flip_directory(field, value):
    """A field of the archive's first directory entry (APPNOTE.TXT 4.3.12): 8 flags, 10 compression."""

    def damage(raw):
        at = raw.index(b"PK\x01\x02") + field
        return raw[:at] + bytes([raw[at] ^ value]) + raw[at + 1 :]

    return damage


DAMAGES = {
    "empty": lambda raw: b"",
    "truncated": truncate,
    "end missing": lambda raw: raw[:-1],
    "zeros": lambda raw: bytes(len(raw)),
    "data flipped": flip_data,
    "array header flipped": lambda raw: raw.replace(b"'descr'", b"'dexcr'", 1),
    "entry said to be encrypted": flip_directory(8, 1),
    "entry said to be patch data": flip_directory(8, 32),
    "unknown compression": flip_directory(10, 255),
    "wrong compression": flip_directory(10, 8),
    "text": lambda raw: b"hello",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_newest_is_passed_over(tmp_path, damage, caplog):
    _, newest = save_steps(tmp_path, 1, 2)
    newest.write_bytes(DAMAGES[damage](newest.read_bytes()))
    restored = empty()
    with caplog.at_level(logging.WARNING):
        assert checkpoint.restore_latest(tmp_path, restored) == {**PROGRESS, "step": 1}
    assert restored.values() == [[2.0, 2.0], 6.0] and restored.optimizer.values() == [8.0]
    assert str(newest) in caplog.text


@pytest.mark.parametrize("damage", ["truncated", "zeros", "unknown compression"])
def test_all_damaged_is_an_error_that_names_the_folder(tmp_path, damage):
    for path in save_steps(tmp_path, 2, 12):
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    restored = empty()
    with pytest.raises(CheckpointError, match=f"{tmp_path}: none of its 2 checkpoints"):
        checkpoint.restore_latest(tmp_path, restored)
    assert restored.values() == [[0.0, 0.0], 0.0]
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        checkpoint.latest_progress(tmp_path)


def test_a_single_flipped_bit_never_goes_unnoticed(tmp_path):
    (path,) = save_steps(tmp_path, 4)
    raw = path.read_bytes()
    at = raw.index(np.float32(5.0).tobytes())
    for bit in range(32):
        changed = bytearray(raw)
        changed[at + bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(changed))
        with pytest.raises(CheckpointError):
            checkpoint.restore_latest(tmp_path, empty())


def test_another_model_is_an_error_that_names_the_variable(tmp_path):
    (path,) = save_steps(tmp_path, 1)
    wrong = Part([0.0, 0.0], [0.0] * 3, optimizer=Part(0.0))
    told = rf"{path}: does not fit the model: model/0001 is \(\) in the file, \(3,\) in the model"
    with pytest.raises(CheckpointError, match=told):
        checkpoint.restore_latest(tmp_path, wrong)
    assert wrong.values() == [[0.0, 0.0], [0.0] * 3]
    with pytest.raises(CheckpointError, match="model/0001"):  # one less
        checkpoint.restore_latest(tmp_path, Part([0.0, 0.0], optimizer=Part(0.0)))
    with pytest.raises(CheckpointError, match="optimizer/0001"):  # one more
        checkpoint.restore_latest(tmp_path, Part([0.0, 0.0], 0.0, optimizer=Part(0.0, 1.0)))


def no_space(*arguments, **options):
    raise OSError(errno.ENOSPC, "No space left on device")


def half_written(file, **arrays):
    file.write(b"PK half of a checkpoint")
    no_space()


@pytest.mark.parametrize(
    "name, function",
    [
        ("files.os.replace", no_space),
        ("files.os.fsync", no_space),
        ("runs.checkpoint.np.savez", half_written),
    ],
)
def test_failed_write_leaves_the_earlier_checkpoint(tmp_path, monkeypatch, name, function):
    (earlier,) = save_steps(tmp_path, 1)
    raw = earlier.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(f"semi_anogan.{name}", function)
        with pytest.raises(CheckpointError, match=r"step_00000002\.npz: cannot be written: No space left"):
            save_steps(tmp_path, 2)
    assert [p.name for p in tmp_path.iterdir()] == [earlier.name] and earlier.read_bytes() == raw
    assert checkpoint.restore_latest(tmp_path, empty())["step"] == 1
    save_steps(tmp_path, 2)  # when there is room again
    assert checkpoint.latest_progress(tmp_path)["step"] == 2


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path):
    (tmp_path / "checkpoints").write_text("a file is in the way")
    with pytest.raises(CheckpointError, match=r"checkpoints: cannot be written: File exists"):
        save_steps(tmp_path / "checkpoints", 1)


def test_files_hold_plain_arrays_and_json(tmp_path):
    (path,) = save_steps(tmp_path, 5)
    with np.load(path, allow_pickle=False) as file:
        assert sorted(file.files) == ["model/0000", "model/0001", "optimizer/0000", "progress"]
        assert json.loads(file["progress"].tobytes()) == {**PROGRESS, "step": 5}
