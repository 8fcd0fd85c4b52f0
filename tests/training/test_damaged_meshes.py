# SPDX-License-Identifier: Apache-2.0
"""Each of trimesh's readers fails in its own way; ours says one thing."""

import pytest

from dinemo_training.synthetic.assets.mesh_file import load_mesh_file

_FILES = {
    "a.obj": "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 99999999\n",
    "b.ply": "ply\nformat ascii 1.0\nelement vertex 3\nproperty list uchar float x\nend_header\n1 2\n",
    "c.off": "OFF\n3 1 0\n0 0 0\n1 0\n0 1 0\n3 0 1 2\n",
}


@pytest.mark.parametrize("name", _FILES)
def test_value_error(tmp_path, name):
    (tmp_path / name).write_text(_FILES[name])
    with pytest.raises(ValueError, match="cannot be read as a mesh"):
        load_mesh_file(tmp_path / name)
