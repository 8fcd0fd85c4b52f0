# SPDX-License-Identifier: Apache-2.0
"""How many kernels a GPU is asked for by a solve and by following; needs torch, and no GPU.

    python tests/benchmarks/count_launches.py car --crops 1

torch's fake tensors run the code without values. What only looks at memory in another way is not counted, what
torch makes of several kernels (sorting, say) counts as one.
"""

import argparse
import inspect
from collections import Counter
from types import SimpleNamespace

import torch
from loop_shapes import SHAPES
from shared_data import ROOT
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from dinemo_ros.cuda.category import to_device
from dinemo_ros.cuda.hypotheses import Search
from dinemo_ros.model.bundle import load_bundle
from dinemo_ros.solver import prepare_category

#: Where the fake tensors are. A torch for CPUs alone cannot even pretend to be on a GPU (from 2.13 on it refuses to
#: slice there); its device without values is as strict about looking at one, and about mixing devices.
FAKE_GPU = torch.device("cuda", 0) if torch.backends.cuda.is_built() else torch.device("meta")

_NO_KERNEL = set("""alias as_strided detach device diagonal empty empty_like empty_strided expand lift_fresh new_empty
    permute reshape select slice split split_with_sizes squeeze t transpose unbind unsqueeze view _reshape_alias
    _unsafe_view""".split())


class Launches(TorchDispatchMode):
    """count: operations by name, our kernels by theirs."""

    def __init__(self):
        super().__init__()
        self.count = Counter()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        name = function._schema.name.partition("::")[2]
        self.count[name] += name not in _NO_KERNEL
        return function(*arguments, **(keywords or {}))

    def loops(self) -> SimpleNamespace:
        """SHAPES, counted; their own operations make memory only."""
        def counted(name, call):
            def run(*arguments):
                self.count[name] += 1
                return call(*arguments)

            return run

        return SimpleNamespace(**{name: counted(name, call) for name, call in vars(SHAPES).items()})


def launches(mesh, card, crops: int) -> dict[str, Counter]:
    """By name, of "solve" and "follow", for so many crops at once."""
    category, cells, found = prepare_category(mesh, card, "clutter"), card.image.size // card.image.stride, {}
    with FakeTensorMode():
        on_device = to_device(category, FAKE_GPU)
        maps, rows, starts = (torch.empty(crops, *shape, device=FAKE_GPU) for shape in (
            (card.features.dim, cells, cells), (14,), (15,)))
        for name, inputs in (("solve", (maps, rows)), ("follow", (maps, rows, starts))):
            mode = Launches()
            search = Search(on_device, mode.loops())
            # Without inference mode, in which products and views hide what they consist of.
            with torch.no_grad(), mode:
                inspect.unwrap(getattr(Search, name))(search, *inputs)
            found[name] = +mode.count
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("category", nargs="?", default="car")
    parser.add_argument("--crops", type=int, default=1)
    options = parser.parse_args()
    bundle = load_bundle(ROOT / "engines" / options.category)
    for name, count in launches(bundle.mesh, bundle.card, options.crops).items():
        print(f"{name}: {count.total()} ({', '.join(f'{n} {operation}' for operation, n in count.most_common(12))})")


if __name__ == "__main__":
    main()
