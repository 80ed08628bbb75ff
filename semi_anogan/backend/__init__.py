"""The only place with gradients, compilation and devices: the same names under TensorFlow and JAX.

Keras' own choice of backend (KERAS_BACKEND) decides which module answers.

Names: `input_gradients`, `compile_function`, `is_symbolic`, `TrainStep`, `Trainer`, `worker_index`,
`make_strategy`, `set_deterministic`, `count_flops`.
"""

import keras

if keras.backend.backend() == "tensorflow":
    from semi_anogan.backend import tensorflow as _module
elif keras.backend.backend() == "jax":
    from semi_anogan.backend import jax as _module
else:
    raise ImportError(f"KERAS_BACKEND must be tensorflow or jax, got {keras.backend.backend()!r}")

input_gradients = _module.input_gradients
compile_function = _module.compile_function
is_symbolic = _module.is_symbolic
TrainStep = _module.TrainStep
Trainer = _module.Trainer
worker_index = _module.worker_index
make_strategy = _module.make_strategy
set_deterministic = _module.set_deterministic
count_flops = _module.count_flops
