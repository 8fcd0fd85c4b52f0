# SPDX-License-Identifier: Apache-2.0
"""How Sphinx builds this documentation, by hand and by rosdoc2.

    pip install '.[docs]'
    sphinx-build -W --keep-going -b html docs docs_build
"""

import importlib.util
import re
import sys
from pathlib import Path


def _folder() -> Path:
    """The folder ``docs`` of the repository: rosdoc2 copies it and reads this file from a ``conf.py`` of its own."""
    wrapper = re.search(r'exec\(open\("(.+?)"\)\.read\(\)\)', Path(__file__).read_text(encoding="utf-8"))
    return Path(wrapper[1]).parent if wrapper else Path(__file__).resolve().parent


_DOCS = _folder()
sys.path[:0] = [str(_DOCS / "_ext"), str(_DOCS.parent / "src"), str(_DOCS.parent)]
repository_root = str(_DOCS.parent)

project = "dinemo_ros"
author = "dinemo_ros maintainers"
copyright = "the dinemo_ros maintainers, Apache-2.0"
release = re.search(r'version="([^"]+)"', (_DOCS.parent / "setup.py").read_text(encoding="utf-8"))[1]
version = ".".join(release.split(".")[:2])

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_rtd_theme", "from_repository"]
exclude_patterns = ["_ext", "Thumbs.db", ".DS_Store"]
html_theme = "sphinx_rtd_theme"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_theme_options = {"navigation_depth": 3}

smartquotes = False  # an option is --json, not –json
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
# What neither the machine that builds the pages nor rosdoc2 need have.
autodoc_mock_imports = [name for name in (
    "numba", "llvmlite", "onnxruntime", "torch", "triton", "tensorrt", "openvino", "onnx", "rosbags", "rclpy",
    "rcl_interfaces", "builtin_interfaces", "diagnostic_msgs", "geometry_msgs", "lifecycle_msgs", "sensor_msgs",
    "std_msgs", "std_srvs", "tf2_msgs", "tf2_ros", "vision_msgs", "visualization_msgs", "ament_index_python",
) if importlib.util.find_spec(name) is None]
mocked_imports = list(autodoc_mock_imports)  # rosdoc2 replaces the other one
