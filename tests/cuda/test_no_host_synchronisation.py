# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Nothing between features and packed poses waits for the device or copies to it: what a CUDA graph cannot hold.

torch's fake tensors know device, shape and type, but no values; so the code runs as on a GPU without having one, and
whatever would look at a value, mix devices or copy from the host is found. The kernels are represented by the
shapes of their results; that they compile and compute the right thing is tested elsewhere.
"""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from benchmarks.count_launches import FAKE_GPU, launches
from loop_shapes import SHAPES
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from unit.planted import car_card, car_mesh
from unit.planted_cup import cup_card, cup_mesh

from dinemo_ros.cuda.category import to_device
from dinemo_ros.cuda.hypotheses import Search
from dinemo_ros.model.symmetry import Symmetry
from dinemo_ros.solver import prepare_category


class OnDevice(TorchDispatchMode):
    """Counts operations and names those that leave the device."""

    def __init__(self):
        super().__init__()
        self.count, self.left = 0, []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        self.count += 1
        tensors = [x for x in (*arguments, *(result if isinstance(result, (tuple, list)) else [result]))
                   if isinstance(x, torch.Tensor)]
        if any(tensor.device != FAKE_GPU for tensor in tensors):
            self.left.append(str(function))
        return result


def test_a_solve_stays_on_the_device():
    """Of a cup, for which everything is done that is done for other categories, and more."""
    category = prepare_category(cup_mesh(), cup_card(cup_mesh(), Symmetry("z", 1)), "clutter")
    with FakeTensorMode():
        search = Search(to_device(category, FAKE_GPU), SHAPES)
        maps, rows, starts = (torch.empty(2, *shape, device=FAKE_GPU) for shape in ((64, 32, 32), (14,), (15,)))
        with OnDevice() as operations:
            solved, followed = search.solve(maps, rows), search.follow(maps, rows, starts)
    assert operations.left == [] and operations.count > 500
    assert solved.device.type == followed.device.type == FAKE_GPU.type and len(solved) == len(followed) == 2


def test_what_leaves_the_device_is_found():
    """A number from the host, a look at a value, a copy: on the device that the tests above have, too."""
    with FakeTensorMode(), OnDevice() as operations:
        values = torch.empty(3, 3, device=FAKE_GPU)
        _ = values[:, :2].contiguous() + 1.0
        assert operations.left == []
        _ = values.cpu()
        assert len(operations.left) == 1
        with pytest.raises(Exception, match=r"_local_scalar_dense"):
            float(values.sum())
        with pytest.raises(Exception, match=r"device|Device"):
            _ = torch.zeros(3) + values


def test_a_solve_is_few_launches():
    """Each costs a GPU some microseconds, also in a graph; the numbers are those of the shipped car and some room."""
    count = launches(car_mesh(), car_card(), 2)
    assert 1500 < count["solve"].total() < 2150 and 700 < count["follow"].total() < 1050
    assert count["follow"]["stepped"] > 5 and count["follow"]["rasterise"] > 2
