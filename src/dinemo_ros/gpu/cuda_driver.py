# SPDX-License-Identifier: Apache-2.0
"""The few calls of the CUDA driver that moving pictures to a GPU and features back takes.

Through ctypes on ``libcuda``, which comes with every NVIDIA driver: a robot with TensorRT need not install PyTorch or
cuda-python for it. https://docs.nvidia.com/cuda/cuda-driver-api names functions and constants.
"""

from __future__ import annotations

import contextlib
import ctypes
from dataclasses import dataclass

import numpy as np

from ..errors import BackendError

_OUT_OF_MEMORY = 2
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
_PROCESSORS = 16  # CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT


class CudaError(BackendError):
    """A CUDA call failed; the message has the driver's own name of the error."""


class CudaOutOfMemory(CudaError):
    """The GPU has no room for a buffer."""


@dataclass(frozen=True)
class Gpu:
    """A CUDA device.

    Attributes:
        arch: compute capability as TensorRT writes it, like "sm87".
        memory: bytes in all.
        processors: streaming multiprocessors that are switched on, which a Jetson's power mode decides about, too.
    """

    name: str
    arch: str
    memory: int
    processors: int = 0

    @property
    def model(self) -> str:
        """What tells it from others of the same architecture, for whom other kernels are the fastest."""
        return f"{self.name}, {self.processors} SMs, {self.memory / 2 ** 30:.0f} GiB"


def find_gpu(index: int = 0) -> Gpu:
    """The GPU that would be used; CudaError says why there is none. Takes no memory on it."""
    cuda = _library()
    _check(cuda, cuda.cuInit(0), "starting CUDA")
    device, major, minor, processors, memory = *(ctypes.c_int() for _ in range(4)), ctypes.c_size_t()
    _check(cuda, cuda.cuDeviceGet(ctypes.byref(device), index), f"opening CUDA device {index}")
    name = ctypes.create_string_buffer(256)
    _check(cuda, cuda.cuDeviceGetName(name, len(name), device), "asking for the GPU's name")
    for value, attribute in ((major, _MAJOR), (minor, _MINOR), (processors, _PROCESSORS)):
        _check(cuda, cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device), "asking what it is")
    _check(cuda, cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device), "asking for its memory")
    return Gpu(name.value.decode(), f"sm{major.value}{minor.value}", memory.value, processors.value)


class CudaStream:
    """A stream on one GPU, with memory on both sides of it. Everything is freed with the object.

    The GPU's primary context is used, the one that TensorRT and PyTorch share. Any thread may call, one at a time.
    """

    def __init__(self, index: int = 0) -> None:
        self._cuda = _library()
        self._device, self._context, self._stream = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
        self._device_memory: list[int] = []
        self._host_memory: list[int] = []
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(self._device), index)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), self._device)
        self.enter()
        self._call("cuStreamCreate", ctypes.byref(self._stream), 0)

    @property
    def handle(self) -> int:
        """For TensorRT's ``execute_async_v3``."""
        return self._stream.value or 0

    def enter(self) -> None:
        """Make this GPU the calling thread's; needed in every thread that calls TensorRT."""
        self._call("cuCtxSetCurrent", self._context)

    def allocate(self, size: int) -> int:
        """Address of ``size`` bytes on the GPU."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        self._device_memory.append(address.value)
        return address.value

    def host_array(self, size: int) -> np.ndarray:
        """uint8 [size] in page-locked memory, which copies run from without another copy."""
        address = ctypes.c_void_p()
        self._call("cuMemHostAlloc", ctypes.byref(address), ctypes.c_size_t(size), 0)
        place = address.value or 0  # never 0 where the driver has said yes
        self._host_memory.append(place)
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(place))

    def upload(self, address: int, source: np.ndarray) -> None:
        """Enqueue a copy of a contiguous host array, of any shape and type, to ``address`` on the GPU.

        Raises:
            CudaError: the driver refuses it.
        """
        self._call("cuMemcpyHtoDAsync_v2", ctypes.c_uint64(address), ctypes.c_void_p(source.ctypes.data),
                   ctypes.c_size_t(source.nbytes), self._stream)

    def download(self, target: np.ndarray, address: int) -> None:
        """Enqueue a copy from ``address`` on the GPU to a contiguous host array of any shape and type.

        Raises:
            CudaError: the driver refuses it.
        """
        self._call("cuMemcpyDtoHAsync_v2", ctypes.c_void_p(target.ctypes.data), ctypes.c_uint64(address),
                   ctypes.c_size_t(target.nbytes), self._stream)

    def synchronize(self) -> None:
        """Wait until everything enqueued is done."""
        self._call("cuStreamSynchronize", self._stream)

    def close(self) -> None:
        """Free all memory; the arrays and addresses handed out are invalid from then on. The destructor does it too."""
        if not self._context.value:
            return
        self.enter()
        for address in self._device_memory:
            self._cuda.cuMemFree_v2(ctypes.c_uint64(address))
        for address in self._host_memory:
            self._cuda.cuMemFreeHost(ctypes.c_void_p(address))
        if self._stream.value:
            self._cuda.cuStreamDestroy_v2(self._stream)
        self._cuda.cuDevicePrimaryCtxRelease_v2(self._device)
        self._device_memory, self._host_memory = [], []
        self._context, self._stream = ctypes.c_void_p(), ctypes.c_void_p()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # at the end of the process the driver may be gone already
            self.close()

    def _call(self, function: str, *arguments: object) -> None:
        _check(self._cuda, getattr(self._cuda, function)(*arguments), function)


def _library() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise CudaError("no NVIDIA driver is installed (libcuda.so.1 is not there)") from error


def _check(cuda: ctypes.CDLL, status: int, doing: str) -> None:
    if status == 0:
        return
    text = ctypes.c_char_p()
    cuda.cuGetErrorName(status, ctypes.byref(text))
    name = text.value.decode() if text.value else f"error {status}"
    if status == _OUT_OF_MEMORY:
        raise CudaOutOfMemory(f"the GPU is out of memory ({doing}): stop what else runs on it, or take backend "
                              "onnxruntime")
    raise CudaError(f"CUDA: {name} ({doing})")
