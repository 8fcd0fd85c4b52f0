# SPDX-License-Identifier: Apache-2.0
"""The builder's side of TensorRT's Python API as its versions have it (from their documentation), without a compiler.

A plan is the text "plan of" and the network; what was asked of the builder is kept in ``asked``.
"""

from types import SimpleNamespace

from dinemo_ros.features.tensorrt_api import TensorRt

_FLAGS = {
    # flags of networks, flags of builders: what each version still has
    "10.3.0": ({"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1}, {"FP16": 0, "BF16": 17, "INT8": 1, "TF32": 6}),
    "10.16.1": ({"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1, "PREFER_AOT_PYTHON_PLUGINS": 3}, {"FP16": 0, "TF32": 6}),
    "11.4.1": ({"STRONGLY_TYPED": 1, "PREFER_AOT_PYTHON_PLUGINS": 3}, {"TF32": 6}),
    "rtx 1.7.1": ({"STRONGLY_TYPED": 1}, {"TF32": 6}),
}
VERSIONS = list(_FLAGS)


class Timings:
    """An ``ITimingCache``: bytes, which this GPU's driver may refuse."""

    def __init__(self, content):
        self.content = content

    def serialize(self):
        return memoryview(self.content)


class Config:
    """An ``IBuilderConfig``."""

    def __init__(self, asked, refuses):
        self._asked, self._refuses, self._timings = asked, refuses, None
        self.profiles = []

    def clear_flag(self, flag):
        self._asked["cleared"] = flag

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def set_compute_capability(self, capability, index):
        self._asked["capability"] = capability

    def create_timing_cache(self, content):
        return Timings(bytes(content))

    def set_timing_cache(self, timings, ignore_mismatch):
        assert not ignore_mismatch, "times of another GPU would be taken for this one's"
        self._asked.setdefault("given", []).append(timings.content)
        if timings.content in self._refuses:
            return False
        self._timings = timings
        return True

    def get_timing_cache(self):
        return self._timings


def tensorrt_builder(version: str, refuses=()) -> tuple[TensorRt, dict]:
    """TensorRT of one of VERSIONS, and what is asked of it.

    refuses: contents of timing caches that do not fit.
    """
    asked: dict = {}
    network_flags, builder_flags = _FLAGS[version]

    class Logger:
        ERROR = 1

        def __init__(self):
            pass

    class Monitor:
        def __init__(self):
            pass

    class Builder:
        def __init__(self, logger):
            pass

        def create_network(self, flags=0):
            asked["network"] = flags
            return SimpleNamespace()

        def create_builder_config(self):
            return Config(asked, refuses)

        def create_optimization_profile(self):
            return SimpleNamespace(set_shape=lambda name, *shapes: asked.setdefault("shapes", []).append(shapes))

        def build_serialized_network(self, network, config):
            asked["builds"] = asked.get("builds", 0) + 1
            if config._timings is not None:
                config._timings.content += b" +measured"
            return b"plan of " + network.model

    class Parser:
        def __init__(self, network, logger):
            self._network = network

        def parse(self, model):
            self._network.model = model
            return True

    api = SimpleNamespace(ILogger=Logger, IProgressMonitor=Monitor, Builder=Builder, OnnxParser=Parser,
                          NetworkDefinitionCreationFlag=SimpleNamespace(**network_flags),
                          BuilderFlag=SimpleNamespace(**builder_flags))
    flavour, _, number = version.rpartition(" ")
    if flavour == "rtx":
        api.ComputeCapability = SimpleNamespace(SM89=89, SM120=120, __members__={"SM89": 89, "SM120": 120})
    return TensorRt(api, "tensorrt_rtx" if flavour else "tensorrt", number), asked
