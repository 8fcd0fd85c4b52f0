# SPDX-License-Identifier: Apache-2.0
"""In which order what runs on a GPU is given back: contexts, engine, runtime, and the stream when nothing uses it."""

import gc
from types import SimpleNamespace

import numpy as np
import pytest

from dinemo_ros.errors import BackendError
from dinemo_ros.features.engines import shapes_of
from dinemo_ros.features.tensorrt_api import TensorRt
from dinemo_ros.features.tensorrt_backend import TensorRtExtractor
from dinemo_ros.gpu.cuda_driver import CudaError, CudaStream


class Released:
    """Writes its name into a list when it is destroyed."""

    def __init__(self, gone, name):
        self._gone, self._name = gone, name

    def __del__(self):
        self._gone.append(self._name)


class Context(Released):
    fails = False

    def set_optimization_profile_async(self, index, stream):
        pass

    def set_tensor_address(self, name, address):
        pass

    def set_input_shape(self, name, shape):
        return True

    def execute_async_v3(self, stream):
        return not Context.fails


class Engine(Released):
    contexts = 2

    def create_execution_context(self):
        self.contexts -= 1
        return Context(self._gone, "context") if self.contexts >= 0 else None


@pytest.fixture
def gone(driver, monkeypatch):
    """What was destroyed so far; the stream also tells when somebody waits for it."""
    gone = []
    close, synchronize = CudaStream.close, CudaStream.synchronize

    def closed(stream):
        if stream._context.value:
            gone.append("stream")
        close(stream)

    def waited(stream):
        gone.append("waited")
        synchronize(stream)

    monkeypatch.setattr(CudaStream, "close", closed)
    monkeypatch.setattr(CudaStream, "synchronize", waited)
    monkeypatch.setattr(Context, "fails", False)
    monkeypatch.setattr(Engine, "contexts", 2)
    return gone


def loaded(bundle, gone, plan=b"plan"):
    """An extractor that alone holds its stream, as those of a node do."""

    class Logger:
        ERROR = 1

        def __init__(self):
            pass

    class Runtime(Released):
        def __init__(self, logger):
            super().__init__(gone, "runtime")

        def deserialize_cuda_engine(self, plan):
            return Engine(gone, "engine") if plan == b"plan" else None

    api = SimpleNamespace(ILogger=Logger, Runtime=Runtime)
    return TensorRtExtractor(bundle, plan, shapes_of(bundle), TensorRt(api, "tensorrt", "10.3.0"), CudaStream())


def test_the_stream_outlives_the_engine(bundle, gone):
    """Work that nobody waited for, as after on_device, is waited for first."""
    extractor = loaded(bundle, gone)
    gone.clear()
    del extractor
    gc.collect()
    assert gone == ["waited", "context", "context", "engine", "runtime", "stream"]


@pytest.mark.parametrize("spoil, rest", [
    ("plan", ["runtime"]), ("context", ["context", "engine", "runtime"]),
    ("memory", ["context", "context", "engine", "runtime"]), ("run", ["context", "context", "engine", "runtime"])])
def test_also_where_it_could_not_be_made(bundle, gone, monkeypatch, spoil, rest):
    """The error is still held, and with it the frames that it passed through."""
    monkeypatch.setattr(Engine, "contexts", 1 if spoil == "context" else 2)
    monkeypatch.setattr(Context, "fails", spoil == "run")
    if spoil == "memory":
        def full(stream, size):
            raise CudaError("CUDA_ERROR_OUT_OF_MEMORY")

        monkeypatch.setattr(CudaStream, "allocate", full)
    try:
        loaded(bundle, gone, b"another" if spoil == "plan" else b"plan")
    except BackendError as error:
        assert [name for name in gone if name != "waited"] == rest and error.__traceback__
    else:
        pytest.fail("was made")
    gc.collect()
    assert [name for name in gone if name != "waited"] == [*rest, "stream"]


def test_a_gpu_that_failed_is_not_waited_for(bundle, gone, monkeypatch):
    extractor = loaded(bundle, gone)
    gone.clear()

    def broken(stream):
        raise CudaError("CUDA: CUDA_ERROR_LAUNCH_FAILED (cuStreamSynchronize)")

    monkeypatch.setattr(CudaStream, "synchronize", broken)
    extractor.close()
    extractor.close()
    assert gone == ["context", "context", "engine", "runtime", "stream"]
    with pytest.raises(AttributeError):  # nothing is run on memory that was freed
        extractor(np.zeros((1, 64, 64, 3), np.uint8))
