"""TensorRT and TensorRT for RTX as engines of a bundle.

Images, features, latents and moments stay on the device between the steps of a search, and a CUDA graph
replays each step.

python -m semi_anogan.export.runtime.tensorrt --bundle=BUNDLE adds engines that trtexec built on the device
to bundle.json.
"""

import argparse
import importlib
import pathlib
import sys

import numpy as np

from semi_anogan.export.runtime.bundle import NAME, Bundle, BundleError, file_entries, write_values
from semi_anogan.export.runtime.cuda import Cuda, no_gpu
from semi_anogan.export.runtime.program import Program, Steps

# The modules' names; the first that is installed and in the bundle is used.
FLAVOURS = ("tensorrt", "tensorrt_rtx")


def flavour() -> str | None:
    """The first of FLAVOURS that is installed."""
    for name in FLAVOURS:
        try:
            importlib.import_module(name)
            return name
        except ImportError:
            continue
    return None


def why_not() -> str | None:
    """Why no engine can run here; None where one can."""
    if flavour() is None:
        return "neither tensorrt nor tensorrt_rtx is installed"
    return no_gpu()


def engine_name(program: dict, flavour: str) -> str:
    """File name of a program's engine."""
    precision = "" if program["precision"] == "float32" else f"_{program['precision']}"
    suffix = ".rtx.engine" if flavour == "tensorrt_rtx" else ".engine"
    return f"{program['function']}_b{program['batch']}{precision}{suffix}"


def engine_entry(program: dict, flavour: str, version: str, capabilities: list[str]) -> dict:
    """What bundle.json says of the engine of an ONNX program.

    version: of the TensorRT that built it; capabilities: compute capabilities that it runs on.
    """
    return {
        "format": "tensorrt",
        **{key: program[key] for key in ("precision", "function", "batch", "inputs", "outputs")},
        "path": f"tensorrt/{engine_name(program, flavour)}",
        "flavour": flavour,
        "version": version,
        "compute_capabilities": capabilities,
        "onnx": program["path"],
    }


_loggers = {}


def logger(trt):
    """The one logger of a flavour; TensorRT wants it to live as long as everything made with it."""
    return _loggers.setdefault(trt.__name__, trt.Logger(trt.Logger.ERROR))


class TensorrtProgram(Program):
    """A function as a TensorRT engine, with one buffer on the device for each of its inputs and outputs.

    Args: trt, cuda: the module and a Cuda; None for what is installed.
    """

    def __init__(self, data: bytes, entry: dict, where: str, trt=None, cuda=None):
        super().__init__(entry, where)
        trt = trt or importlib.import_module(entry["flavour"])
        self.cuda = cuda or Cuda()
        self._engine = trt.Runtime(logger(trt)).deserialize_cuda_engine(data)
        if self._engine is None:
            made = f"{entry['flavour']} {entry['version']} for {', '.join(entry['compute_capabilities'])}"
            here = f"{trt.__name__} {trt.__version__} on this GPU ({self.cuda.capability()})"
            raise BundleError(f"{where}: {here} refuses it; it was built with {made}")
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        shapes = {name: tuple(self._engine.get_tensor_shape(name)) for name in names}
        inputs = {n for n in names if self._engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT}
        dtypes = [np.dtype(trt.nptype(self._engine.get_tensor_dtype(n))).name for n in names]
        found = {n: shapes[n] for n in self.inputs if n in inputs} | {n: shapes[n] for n in inputs}
        self.check(found, {n: s for n, s in shapes.items() if n not in inputs}, dtypes)
        self._context = self._engine.create_execution_context()
        self.sizes = {n: 4 * int(np.prod(shape)) for n, shape in shapes.items()}
        self.buffers = {n: self.cuda.allocate(size) for n, size in self.sizes.items()}
        for name, address in self.buffers.items():
            self._context.set_tensor_address(name, address)
        self._replay = None

    def __del__(self):
        for address in getattr(self, "buffers", {}).values():
            self.cuda.free(address)

    def enqueue(self):
        """Puts the computation on the stream. BundleError where TensorRT refuses."""
        if not self._context.execute_async_v3(self.cuda.stream):
            raise BundleError(f"{self.where}: TensorRT cannot run it")

    def launch(self, work=None):
        """Runs the computation, or `work` with it inside.

        The first time as it is, since engines allocate memory then; later as a CUDA graph.
        """
        work = work or self.enqueue
        if self._replay is None:
            work()
            self.cuda.wait()
            self._replay = self.cuda.captured(work)
        else:
            self._replay()

    def set(self, inputs: dict):
        """Copies arrays to the buffers of the inputs."""
        for name, value in inputs.items():
            self.cuda.upload(self.buffers[name], value)

    def get(self, *names: str) -> dict[str, np.ndarray]:
        """The buffers of these outputs as arrays, once everything is done."""
        found = {name: np.empty(self.outputs[name], np.float32) for name in names}
        for name, array in found.items():
            self.cuda.download(array, self.buffers[name])
        self.cuda.wait()
        return found

    def __call__(self, inputs: dict) -> dict[str, np.ndarray]:
        arrays = self.checked_inputs(inputs)  # held until the copies are done
        self.set(arrays)
        if "step" in self.inputs:  # its graph is that of DeviceSteps
            self.enqueue()
        else:
            self.launch()
        return self.get(*self.outputs)

    def steps(self, fixed: dict, latents: np.ndarray) -> Steps:
        return DeviceSteps(self, fixed, latents)


class DeviceSteps(Steps):
    """The steps of one search with the state on the device.

    A step brings back no more than the loss and the latents.
    """

    def __init__(self, program: TensorrtProgram, fixed: dict, latents: np.ndarray):
        self._program, self.latents = program, latents
        # Kept until the copies to the device are done.
        self._kept = [np.ascontiguousarray(a, np.float32) for a in (*fixed.values(), latents)]
        program.set(dict(zip([*fixed, "latents"], self._kept, strict=True)))
        for name in ("moment", "velocity"):
            program.cuda.clear(program.buffers[name], program.sizes[name])

    def __call__(self, index: int) -> np.ndarray:
        program, step = self._program, np.float32([index])
        program.set({"step": step})
        program.launch(self._work)
        found = program.get("loss", "new_latents")
        self.latents = found["new_latents"]
        return found["loss"]

    def _work(self):
        program = self._program
        program.enqueue()
        for name in ("latents", "moment", "velocity"):
            program.cuda.copy(program.buffers[name], program.buffers[f"new_{name}"], program.sizes[name])


def add_engines(folder, version: str, capability: str) -> list[str]:
    """Adds the engines of TensorRT that lie in FOLDER/tensorrt to bundle.json; returns their paths.

    version, capability: of the TensorRT that built them and of the GPU.

    Raises: BundleError where the bundle is damaged or there are no engines.
    """
    bundle = Bundle(folder)
    values = dict(bundle.values)
    programs = [p for p in values["programs"] if p.get("flavour") != "tensorrt"]
    entries = [engine_entry(p, "tensorrt", version, [capability]) for p in programs if p["format"] == "onnx"]
    entries = [entry for entry in entries if (bundle.folder / entry["path"]).is_file()]
    if not entries:
        raise BundleError(
            f"{bundle.folder / 'tensorrt'}: holds no engines; "
            "build them with build_tensorrt_10.sh or _11.sh there"
        )
    added = [entry["path"] for entry in entries]
    listed = {file["path"] for file in values["files"]} | set(added)
    files = [file for file in file_entries(bundle.folder) if file["path"] in listed]
    write_values(bundle.folder / NAME, {**values, "programs": [*programs, *entries], "files": files})
    return added


def main(arguments=None) -> int:
    """The command that the build scripts end with."""
    parser = argparse.ArgumentParser(
        prog="python -m semi_anogan.export.runtime.tensorrt",
        description="Adds engines that trtexec built on the device to bundle.json.",
    )
    parser.add_argument("--bundle", required=True, help="folder in whose tensorrt/ the engines were built")
    options = parser.parse_args(arguments)
    try:
        version = importlib.import_module("tensorrt").__version__
        print("\n".join(add_engines(pathlib.Path(options.bundle), version, Cuda().capability())))
        return 0
    except ImportError as error:
        print(f"error: TensorRT is not installed: {error}", file=sys.stderr)
    except BundleError as error:
        print(f"error: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
