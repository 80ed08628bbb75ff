"""TensorRT: engines built from the ONNX files of a bundle, or scripts that build them on the device.

Engines of TensorRT for RTX are built ahead of time, without a GPU; those of TensorRT where it and a GPU are.
The ONNX files are strongly typed: float16 stands in the file itself, so one way of building serves TensorRT
10 and 11.
"""

import importlib
import pathlib

from semi_anogan.export.runtime import cuda
from semi_anogan.export.runtime import tensorrt as runtime

_TRTEXEC = (
    "trtexec --onnx={onnx} --saveEngine={engine} --versionCompatible "
    "--timingCacheFile=tensorrt/timing.cache --skipInference"
)
# What the two differ in: TensorRT 11 knows no other than strongly typed networks.
_FLAGS = {"10": " --stronglyTyped", "11": ""}


def write(folder: pathlib.Path, programs: list[dict]) -> tuple[list[dict], list[str]]:
    """Builds engines of the ONNX programs with what is installed, and writes the build scripts.

    Returns: (entries for bundle.json, notes on what was not built and why).
    Raises: RuntimeError where a parser refuses an ONNX file.
    """
    (folder / "tensorrt").mkdir()
    onnx_programs = [p for p in programs if p["format"] == "onnx"]
    entries, notes = [], []
    for flavour in runtime.FLAVOURS:
        reason = why_not(flavour)
        if reason is None:
            entries += [build_program(folder, program, flavour) for program in onnx_programs]
        else:
            notes.append(f"no {flavour} engines: {reason}")
    write_scripts(folder, onnx_programs)
    notes.append(
        "engines of TensorRT are built on the device: "
        "tensorrt/build_tensorrt_10.sh or build_tensorrt_11.sh of the bundle"
    )
    return entries, notes


def write_scripts(folder: pathlib.Path, programs: list[dict]):
    """Writes the scripts that build engines of ONNX programs on a device, to FOLDER/tensorrt."""
    for version in _FLAGS:
        path = folder / "tensorrt" / f"build_tensorrt_{version}.sh"
        path.write_text(script(programs, version))
        path.chmod(0o755)


def why_not(flavour: str) -> str | None:
    """Why engines of a flavour cannot be built here, None where they can."""
    try:
        importlib.import_module(flavour)
    except ImportError as error:
        return f"{flavour} is not installed ({error})"
    if flavour == "tensorrt" and (reason := cuda.no_gpu()):
        return f"TensorRT builds on a GPU only, and {reason}"
    return None


def build_program(folder: pathlib.Path, program: dict, flavour: str) -> dict:
    """Builds the engine of one ONNX program; returns its entry."""
    trt = importlib.import_module(flavour)
    cache = folder / "tensorrt" / "timing.cache" if flavour == "tensorrt" else None
    data, capabilities = build(trt, (folder / program["path"]).read_bytes(), program["path"], cache)
    entry = runtime.engine_entry(program, flavour, trt.__version__, capabilities)
    (folder / entry["path"]).write_bytes(data)
    return entry


def parse(trt, data: bytes, where: str):
    """(builder, network, parser) of an ONNX file.

    Raises: RuntimeError with the parser's reasons where it refuses the file.
    """
    builder = trt.Builder(runtime.logger(trt))
    flag = trt.NetworkDefinitionCreationFlag
    network = builder.create_network(1 << int(flag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, runtime.logger(trt))
    if not parser.parse(data):
        reasons = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise RuntimeError(f"{where}: the parser of {trt.__name__} {trt.__version__} refuses it: {reasons}")
    return builder, network, parser


def build(trt, data: bytes, where: str, cache: pathlib.Path | None = None) -> tuple[bytes, list[str]]:
    """(serialized engine, compute capabilities it is for) of an ONNX file.

    cache: file of timings, kept between builds.
    """
    builder, network, parser = parse(trt, data, where)
    config = builder.create_builder_config()
    if trt.__name__ == "tensorrt_rtx":
        # Without SM75: Turing would have to have engines of its own.
        capabilities = sorted(n for n in dir(trt.ComputeCapability) if n.startswith("SM") and n != "SM75")
        config.num_compute_capabilities = len(capabilities)
        for index, name in enumerate(capabilities):
            config.set_compute_capability(getattr(trt.ComputeCapability, name), index)
    else:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        timings = cache.read_bytes() if cache.exists() else b""
        config.set_timing_cache(config.create_timing_cache(timings), ignore_mismatch=False)
        capabilities = [cuda.Cuda().capability()]
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise RuntimeError(f"{where}: {trt.__name__} {trt.__version__} cannot build an engine of it")
    if cache is not None:
        cache.write_bytes(bytes(config.get_timing_cache().serialize()))
    del parser
    return bytes(plan), capabilities


def script(programs: list[dict], version: str) -> str:
    """A shell script that builds the engines with trtexec of TensorRT 10 or 11, for the device."""
    lines = [
        "#!/usr/bin/env bash",
        f"# Builds the engines of this bundle with TensorRT {version} on the device they are for, "
        "and adds them to bundle.json.",
        "# An engine runs on the GPU and the TensorRT it was built with; "
        "--versionCompatible also allows later TensorRT versions.",
        "set -euo pipefail",
        'cd "$(dirname "$0")/.."',
        'export PATH="$PATH:/usr/src/tensorrt/bin"  # where JetPack puts trtexec',
    ]
    for program in programs:
        engine = f"tensorrt/{runtime.engine_name(program, 'tensorrt')}"
        lines.append(_TRTEXEC.format(onnx=program["path"], engine=engine) + _FLAGS[version])
    return "\n".join([*lines, "python3 -m semi_anogan.export.runtime.tensorrt --bundle=.", ""])
