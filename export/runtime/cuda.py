"""The CUDA driver, called through its own library: numpy and the standard library are all it needs."""

import ctypes

import numpy as np

from semi_anogan.export.runtime.bundle import BundleError

_RELAXED = 2  # capture mode: other calls of this thread, TensorRT's own, are allowed


def no_gpu() -> str | None:
    """Why there is no GPU; None where there is one."""
    try:
        Cuda()
    except BundleError as error:
        return str(error)
    return None


class Cuda:
    """The driver's first device: memory, a stream, graphs.

    Raises: BundleError where there is no driver or no device, and where the driver refuses a call.
    """

    def __init__(self):
        try:
            self._lib = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise BundleError(f"there is no NVIDIA driver ({error})") from error
        device, context, stream = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(device), 0)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)
        self._call("cuStreamCreate", ctypes.byref(stream), 1)  # not blocking for the default stream
        self._device, self.stream = device, stream.value

    def _call(self, name: str, *arguments):
        status = getattr(self._lib, name)(*arguments)
        if status:
            raise BundleError(f"CUDA: {name} failed with error {status}")

    def capability(self) -> str:
        """Compute capability of the device, as SM87."""
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(major), 75, self._device)
        self._call("cuDeviceGetAttribute", ctypes.byref(minor), 76, self._device)
        return f"SM{major.value}{minor.value}"

    def allocate(self, size: int) -> int:
        """Address of new memory on the device."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(size, 4)))
        return address.value

    def free(self, address: int):
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def upload(self, address: int, array: np.ndarray):
        pointer, size = array.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(array.nbytes)
        self._call("cuMemcpyHtoDAsync_v2", ctypes.c_uint64(address), pointer, size, self._stream())

    def download(self, array: np.ndarray, address: int):
        pointer, size = array.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(array.nbytes)
        self._call("cuMemcpyDtoHAsync_v2", pointer, ctypes.c_uint64(address), size, self._stream())

    def copy(self, to: int, source: int, size: int):
        """From device to device."""
        addresses = ctypes.c_uint64(to), ctypes.c_uint64(source)
        self._call("cuMemcpyDtoDAsync_v2", *addresses, ctypes.c_size_t(size), self._stream())

    def clear(self, address: int, size: int):
        zero, count = ctypes.c_ubyte(0), ctypes.c_size_t(size)
        self._call("cuMemsetD8Async", ctypes.c_uint64(address), zero, count, self._stream())

    def wait(self):
        """Until everything on the stream is done."""
        self._call("cuStreamSynchronize", self._stream())

    def captured(self, work):
        """A function that replays what `work` puts on the stream."""
        graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuStreamBeginCapture_v2", self._stream(), _RELAXED)
        try:
            work()
        finally:
            self._call("cuStreamEndCapture", self._stream(), ctypes.byref(graph))
        self._call("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, ctypes.c_uint64(0))
        self._call("cuGraphDestroy", graph)
        return lambda: self._call("cuGraphLaunch", executable, self._stream())

    def _stream(self):
        return ctypes.c_void_p(self.stream)
