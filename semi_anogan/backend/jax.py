"""Gradients, compilation and devices with JAX; no TensorFlow needed."""

import contextlib
import os

import jax
import keras
import numpy as np

# A GPU is shared: with what scores beside a training, or another program of a line. Without this JAX takes
# three quarters of its memory at once. It asks when it first uses a device; what a person has set stays.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def input_gradients(function, x):
    """(function(x), gradient of its sum with respect to x); differentiable itself."""
    values, pullback = jax.vjp(function, x)
    return values, pullback(jax.numpy.ones_like(values))[0]


def compile_function(function, model):
    """`function` of tensors under jax.jit; it reads the variables of `model` as they are when called."""
    variables = model.variables

    @jax.jit
    def compiled(values, *arguments):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*arguments)

    return lambda *arguments: compiled([v.value for v in variables], *arguments)


def is_symbolic(x) -> bool:
    """Whether x is a value of a function being traced, which has no numbers yet."""
    return isinstance(x, jax.core.Tracer)


class TrainStep:
    """`train_step` of a model with `losses`, `update_averages`, `generating_variables` (which are first)."""

    def train_step(self, state, data):
        trainable, non_trainable, optimizer_variables, metrics_variables = state
        with self._scope(
            trainable, non_trainable
        ) as scope:  # it may draw latents, which moves the seed's state
            batch = self.unpack(data)
        non_trainable = self._non_trainable_values(scope)
        count = len(self.generating_variables)

        def losses(generator_values, discriminator_values):
            with self._scope([*generator_values, *discriminator_values], non_trainable) as scope:
                discriminator_loss, generator_loss, logs = self.losses(batch)
            return (generator_loss, discriminator_loss), (logs, self._non_trainable_values(scope))

        (generator_loss, discriminator_loss), pullback, (logs, non_trainable) = jax.vjp(
            losses, trainable[:count], trainable[count:], has_aux=True
        )
        one, zero = jax.numpy.ones_like(generator_loss), jax.numpy.zeros_like(discriminator_loss)
        gradients = pullback((one, zero))[0] + pullback((zero, one))[1]
        trainable, optimizer_variables = self.optimizer.stateless_apply(
            optimizer_variables, gradients, trainable
        )
        step = zip(self.optimizer.variables, optimizer_variables, strict=True)
        with self._scope(trainable, non_trainable, step) as scope:
            self.update_averages()
        return logs, (trainable, self._non_trainable_values(scope), optimizer_variables, metrics_variables)

    def _scope(self, trainable, non_trainable, others=()):
        mapping = [*zip(self.trainable_variables, trainable, strict=True)]
        mapping += zip(self.non_trainable_variables, non_trainable, strict=True)
        return keras.StatelessScope(state_mapping=[*mapping, *others])

    def _non_trainable_values(self, scope):
        return [scope.get_current_value(v) for v in self.non_trainable_variables]


class Trainer:
    """Runs `train_step` batch by batch, compiled once a stage; the weights stay on the device."""

    def __init__(self, model, strategy):
        del strategy  # one device
        self.model = model
        self._functions = {}
        self._state = None

    def _variables(self):
        model = self.model
        return [model.trainable_variables, model.non_trainable_variables, model.optimizer.variables, []]

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, float]:
        """One step on {"images", "labels", "latents", "mix"}; returns the losses."""
        key = self._key(batch)
        if key not in self._functions:
            self._functions[key] = jax.jit(self.model.train_step, donate_argnums=0)
        self._start()
        # fade and learning rate are set from outside between steps
        self._refresh(self.model.fade, self._state[1], self.model.non_trainable_variables)
        self._refresh(self.model.optimizer.learning_rate, self._state[2], self.model.optimizer.variables)
        logs, self._state = self._functions[key](self._state, batch)
        return logs

    def _key(self, batch) -> tuple:
        return self.model.stage_resolution, self.model.trains, batch["images"].shape[0]

    def _start(self):
        if self._state is None:
            self._state = tuple([jax.numpy.array(v.value) for v in group] for group in self._variables())

    def cost(self, batch: dict[str, np.ndarray]) -> tuple[int, int]:
        """(floating-point operations, bytes of memory) of a step, as XLA counts them.

        What was compiled for this is what such steps run afterwards.
        """
        self._start()
        compiled = jax.jit(self.model.train_step, donate_argnums=0).lower(self._state, batch).compile()
        self._functions[self._key(batch)] = compiled
        memory = compiled.memory_analysis()
        size = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
        return int(compiled.cost_analysis()["flops"]), size - memory.alias_size_in_bytes

    @staticmethod
    def _refresh(variable, values, variables):
        index = next(i for i, v in enumerate(variables) if v is variable)
        values[index] = jax.numpy.array(variable.value)

    def sync(self):
        """Brings the model's variables up to date."""
        if self._state is not None:
            for group, values in zip(self._variables(), self._state, strict=True):
                for variable, value in zip(group, values, strict=True):
                    variable.assign(value)
            self._state = None


class _OneDevice:
    def scope(self):
        return contextlib.nullcontext()


def worker_index(name: str) -> int:
    """This process' index among the workers of a distribution: there is one."""
    del name
    return 0


def make_strategy(name: str):
    """(strategy, this process' index, number of processes); under JAX one device of one process."""
    if name not in ("auto", "one_device"):
        raise ValueError(
            f"distribution {name!r} needs the TensorFlow backend; with JAX it must be auto or one_device"
        )
    return _OneDevice(), 0, 1


def set_deterministic(seed: int):
    """JAX on CPU gives the same bits in each run; random numbers come in as arguments."""
    del seed


def count_flops(function, *arguments) -> int:
    """Floating-point operations of one call, as XLA counts them."""
    return int(jax.jit(function).lower(*arguments).compile().cost_analysis()["flops"])
