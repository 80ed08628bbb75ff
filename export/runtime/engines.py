"""The engines behind one interface: arrays by name in, arrays by name out."""

import concurrent.futures
import os
import queue

import numpy as np

from semi_anogan.export.runtime.bundle import Bundle, BundleError
from semi_anogan.export.runtime.program import Program

ENGINES = ("onnx", "tflite", "tensorrt")
INSTALL = {  # what to install where the engine is missing
    "onnx": "onnxruntime (extra edge-onnx)",
    "tflite": "ai-edge-litert (extra edge-tflite)",
    "tensorrt": "TensorRT of the device, or tensorrt-rtx-cu13 (extra edge-tensorrt)",
}


def load_programs(
    bundle: Bundle, engine: str, precision: str, batch: int, threads: int | None = None, providers=None
) -> dict[str, Program]:
    """The exported functions of a bundle by name: "score", and with search "encode" and "search_step".

    Args:
      engine: one of ENGINES.
      precision, batch: what was exported.
      threads: of the CPU engines, None for all cores.
      providers: execution providers of ONNX Runtime, None for the CPU's.

    Raises: BundleError for what the bundle does not have, a file whose inputs and outputs are not those in
      bundle.json, or an engine that is not installed.
    """
    if engine not in ENGINES:
        raise BundleError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    names = ["score"] if bundle.values["search"] is None else ["encode", "search_step", "score"]
    flavour = None
    if engine == "tensorrt":
        from semi_anogan.export.runtime import tensorrt

        flavour = tensorrt.flavour()
    # All are looked up before the first is loaded: what the bundle does not have is told at once.
    entries = {name: bundle.program(engine, precision, name, batch, flavour) for name in names}
    try:
        return {
            name: _program(bundle, entry, threads or _cores(), providers) for name, entry in entries.items()
        }
    except ImportError as error:
        raise BundleError(
            f"engine {engine!r} is not installed ({error}): install {INSTALL[engine]}"
        ) from error


def _program(bundle: Bundle, entry: dict, threads: int, providers) -> Program:
    where, data = bundle.title(entry["path"]), bundle.read(entry["path"])
    if entry["format"] == "onnx":
        return OnnxProgram(data, entry, where, threads, providers)
    if entry["format"] == "tflite":
        return TfliteProgram(data, entry, where, threads)
    from semi_anogan.export.runtime import tensorrt

    return tensorrt.TensorrtProgram(data, entry, where)


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


class OnnxProgram(Program):
    """A function under ONNX Runtime."""

    def __init__(self, data: bytes, entry: dict, where: str, threads: int, providers=None):
        import onnxruntime

        super().__init__(entry, where)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Else the threads of the function that has just run go on looking for work, on the cores that the
        # next function needs: on two cores a search then takes twice as long.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.log_severity_level = 3
        there = onnxruntime.get_available_providers()
        for name in providers or ():  # ONNX Runtime would take the CPU instead
            if name not in there:
                raise BundleError(
                    f"providers: {name!r} is none of those of this ONNX Runtime: {', '.join(there)}"
                )
        try:
            self._session = onnxruntime.InferenceSession(
                data, options, providers=providers or ["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime has its own kinds of errors for a file it cannot use
            raise BundleError(f"{where}: ONNX Runtime refuses it: {error}") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        dtypes = [{"tensor(float)": "float32"}.get(a.type, a.type) for a in [*inputs, *outputs]]
        self.check(
            {a.name: tuple(a.shape) for a in inputs}, {a.name: tuple(a.shape) for a in outputs}, dtypes
        )
        self._names = list(self.outputs)

    def __call__(self, inputs: dict) -> dict[str, np.ndarray]:
        values = self._session.run(self._names, self.checked_inputs(inputs))
        return dict(zip(self._names, values, strict=True))


class TfliteProgram(Program):
    """A function under LiteRT, with its XNNPACK delegate.

    A file takes at most a few images; a batch is divided among interpreters of the file, one on each core.
    """

    def __init__(self, data: bytes, entry: dict, where: str, threads: int):
        super().__init__(entry, where)
        self._part = entry["file_batch"]
        if not isinstance(self._part, int) or self._part < 1 or entry["batch"] % self._part:
            raise BundleError(
                f"{where}: bundle.json says that it takes {self._part!r} of {entry['batch']} images"
            )
        self._parts = entry["batch"] // self._part
        workers = min(threads, self._parts)
        self._interpreters = queue.SimpleQueue()
        for _ in range(workers):
            self._interpreters.put(self._interpreter(data, max(threads // workers, 1)))
        self._pool = concurrent.futures.ThreadPoolExecutor(workers) if workers > 1 else None

    def _interpreter(self, data: bytes, threads: int):
        from ai_edge_litert.interpreter import Interpreter

        try:
            interpreter = Interpreter(model_content=data, num_threads=threads)
            interpreter.allocate_tensors()
            (signature,) = interpreter.get_signature_list()
            runner = interpreter.get_signature_runner(signature)
            inputs, outputs = runner.get_input_details(), runner.get_output_details()
        except Exception as error:  # LiteRT has several kinds of errors for a file it cannot use
            raise BundleError(f"{self.where}: LiteRT refuses it: {error}") from error
        dtypes = [np.dtype(d["dtype"]).name for d in [*inputs.values(), *outputs.values()]]
        self.check(self._of_batch(inputs), self._of_batch(outputs), dtypes)
        self._inputs = {name: d["index"] for name, d in inputs.items()}
        self._outputs = {name: d["index"] for name, d in outputs.items()}
        return interpreter

    def _of_batch(self, details: dict) -> dict[str, tuple]:
        """The shapes in the file as they are for the whole batch."""
        shapes = {name: tuple(int(size) for size in d["shape"]) for name, d in details.items()}
        return {
            name: shape if name == "step" or not shape else (shape[0] * self._parts, *shape[1:])
            for name, shape in shapes.items()
        }

    def __call__(self, inputs: dict) -> dict[str, np.ndarray]:
        inputs = self.checked_inputs(inputs)
        mapped = self._pool.map if self._pool else map
        found = list(mapped(lambda index: self._run(inputs, index), range(self._parts)))
        return {name: np.concatenate([part[name] for part in found]) for name in self._outputs}

    def _run(self, inputs: dict, index: int) -> dict[str, np.ndarray]:
        """The outputs for one part of the batch."""
        rows, interpreter = slice(index * self._part, (index + 1) * self._part), self._interpreters.get()
        try:
            for name, value in inputs.items():
                interpreter.set_tensor(self._inputs[name], value if name == "step" else value[rows])
            interpreter.invoke()
            return {name: interpreter.get_tensor(tensor) for name, tensor in self._outputs.items()}
        finally:
            self._interpreters.put(interpreter)
