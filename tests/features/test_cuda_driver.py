# SPDX-License-Identifier: Apache-2.0
"""The driver calls, against a stand-in on host memory (no GPU here); with a GPU, the same against the real driver."""

import ctypes
import threading

import numpy as np
import pytest

from dinemo_ros.gpu.cuda_driver import CudaError, CudaOutOfMemory, CudaStream, find_gpu


def test_gpu_is_described(driver):
    gpu = find_gpu()
    assert (gpu.name, gpu.arch, gpu.memory, gpu.processors) == ("stand-in", "sm89", 2 ** 30, 24)
    assert gpu.model == "stand-in, 24 SMs, 1 GiB"


def test_no_such_gpu(driver):
    with pytest.raises(CudaError, match=r"CUDA_ERROR_INVALID_VALUE \(opening CUDA device 1\)"):
        find_gpu(1)


def round_trip(stream: CudaStream) -> None:
    data = np.random.default_rng(0).integers(0, 256, 1000, dtype=np.uint8)
    address, back = stream.allocate(data.nbytes), stream.host_array(data.nbytes)
    stream.upload(address, data)
    stream.download(back, address)
    stream.synchronize()
    assert np.array_equal(back, data)


def test_data_goes_there_and_back(driver):
    stream = CudaStream()
    round_trip(stream)
    thread = threading.Thread(target=lambda: (stream.enter(), round_trip(stream)))
    thread.start()
    thread.join()
    stream.close()
    stream.close()  # twice does no harm


def test_out_of_memory_is_one_sentence(driver):
    stream = CudaStream()
    with pytest.raises(CudaOutOfMemory, match="the GPU is out of memory .*: stop what else runs on it, or "):
        stream.allocate(2 ** 31)
    stream.close()


def test_without_a_driver():
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        with pytest.raises(CudaError, match="no NVIDIA driver is installed"):
            find_gpu()
        return
    stream = CudaStream()  # a machine with a GPU: the real driver
    round_trip(stream)
    stream.close()
