# SPDX-License-Identifier: Apache-2.0
"""Mesh files that state or draw billions are refused before they are built, and good ones are read."""

import json
import os
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from bombs import assert_cheap, black_png, cost

trimesh = pytest.importorskip("trimesh")

from dinemo_training.synthetic.assets.acc import read_acc_car  # noqa: E402
from dinemo_training.synthetic.assets.mesh_file import texture_pixels  # noqa: E402
from dinemo_training.synthetic.assets.scene import read_scene  # noqa: E402
from dinemo_training.synthetic.assets.vessel import read_vessel  # noqa: E402
from dinemo_training.synthetic.shape.mean_mesh import read_cad  # noqa: E402

ONE = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}],
       "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
       "accessors": [{"componentType": 5126, "type": "VEC3", "count": 3, "bufferView": 0},
                     {"componentType": 5125, "type": "SCALAR", "count": 3, "bufferView": 1}],
       "buffers": [{"byteLength": 48}],
       "bufferViews": [{"buffer": 0, "byteLength": 36}, {"buffer": 0, "byteOffset": 36, "byteLength": 12}]}


def glb(changes: dict) -> bytes:
    """A triangle, and what differs from it."""
    text = json.dumps({**ONE, **changes}).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", 48, 0x004E4942) + struct.pack(
        "<9f3I", 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 2)
    return b"glTF" + struct.pack("<II", 2, 12 + len(body)) + body


def doubled(levels: int) -> list[dict]:
    """A node of two nodes of two nodes of ... a mesh."""
    return [{"children": [k + 1, k + 1]} for k in range(levels)] + [{"mesh": 0}]


def zipped(path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.obj", "w") as out:
        for _ in range(300):
            out.write(bytes(1 << 20))


ZEROS = [{"componentType": 5126, "type": "VEC3", "count": 3, "bufferView": 0},
         {"componentType": 5125, "type": "SCALAR", "count": 3_000_000_000}]
BOMBS = {
    "a.glb": (lambda: glb({"accessors": ZEROS}), "states 1000000000 faces"),
    "b.glb": (lambda: glb({"nodes": doubled(30)}), "draws more than 10000 nodes"),
    "c.glb": (lambda: glb({"nodes": [{"children": [0, 0]}]}), "draws more than 10000 nodes"),
    "d.glb": (lambda: b"glTF" + struct.pack("<IIII", 2, 2**32 - 1, 2**32 - 1, 0x4E4F534A) + bytes(100),
              "states 1431655"),
    "a.gltf": (lambda: json.dumps({**ONE, "accessors": ZEROS}).encode(), "states 1000000000 faces"),
    "a.ply": (lambda: b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
              b"element face 2000000000\nproperty list uchar int vertex_indices\nend_header\n",
              "states 2000000000 faces"),
    "a.off": (lambda: b"OFF # a word\n3 2000000000 0\n0 0 0\n", "states 2000000000 faces"),
    "b.obj": (lambda: b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf" + b" 1 2 3" * 5_000_000, "states 1250000 faces"),
    "a.obj": (lambda: b"v 0 0 0\nv 1 0 0\nv 0 1 0\n" + b"f 1 2 3\n" * 2_100_000, "states 2100000 faces"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_mesh(tmp_path, name):
    make, words = BOMBS[name]
    file = tmp_path / name
    file.write_bytes(make())
    for read in (read_cad, read_scene, lambda path: read_vessel(path, 0.1)):
        with pytest.raises(ValueError, match=words):
            read(file)
    answer, seconds, megabytes = cost("from pathlib import Path\nfrom dinemo_training.synthetic.assets.mesh_file "
                                      "import load_mesh_file",
                                      "load_mesh_file(Path(sys.argv[1]))", str(file))
    assert answer.startswith("ValueError: ") and words in answer
    assert_cheap(seconds, megabytes, file.stat().st_size / 1e6)


@pytest.mark.parametrize("suffix", [".obj", ".glb", ".stl", ".ply", ".off"])
def test_a_sparse_mesh_of_40_gigabytes_is_not_read(tmp_path, suffix):
    file = tmp_path / f"a{suffix}"
    with file.open("wb") as out:
        out.truncate(40 << 30)
    with pytest.raises(ValueError, match="has 40960 MiB, at most 256 are read"):
        read_cad(file)


def test_an_archive_is_not_unpacked(tmp_path):
    zipped(tmp_path / "a.zip")
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"not one of \.obj, .*unpack or convert it first"):
            read_cad(tmp_path / "a.zip")
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def test_a_texture_of_a_gigapixel_is_not_decoded(tmp_path):
    for side, words in ((13_000, "169000000|13000x13000"), (9_000, "at most 64000000 pixels are read")):
        (tmp_path / "a.png").write_bytes(black_png(side, side))
        with pytest.raises(ValueError, match=words):
            texture_pixels(tmp_path / "a.png")


def test_good_meshes_are_read(tmp_path):
    (tmp_path / "a.glb").write_bytes(glb({}))
    assert [len(mesh.faces) for _, mesh in read_scene(tmp_path / "a.glb")] == [1]
    (tmp_path / "b.glb").write_bytes(glb({"nodes": [{"children": [1, 2]}, {"mesh": 0}, {"mesh": 0}]}))
    assert [len(mesh.faces) for _, mesh in read_scene(tmp_path / "b.glb")] == [1, 1]
    sphere = trimesh.creation.icosphere(2)
    for suffix in (".obj", ".stl", ".ply", ".off"):
        sphere.export(tmp_path / f"a{suffix}")
        vertices, faces = read_cad(tmp_path / f"a{suffix}")
        assert len(faces) == len(sphere.faces) and np.isfinite(vertices).all()


def beside(folder, uri: str, kind: str):
    """A mesh whose numbers, material or texture is the file ``uri``."""
    if kind == "numbers":
        (folder / "a.gltf").write_text(json.dumps({**ONE, "buffers": [{"byteLength": 48, "uri": uri}]}))
        return folder / "a.gltf"
    (folder / "a.obj").write_text(f"mtllib {'m.mtl' if kind == 'texture' else uri}\nv 0 0 0\nv 1 0 0\nv 0 1 0\n"
                                  "vt 0 0\nusemtl m\nf 1/1 2/1 3/1\n")
    (folder / "m.mtl").write_text(f"newmtl m\nmap_Kd {uri}\n")
    return folder / "a.obj"


@pytest.mark.parametrize("kind", ["numbers", "material", "texture"])
@pytest.mark.parametrize("uri", ["pipe", "endless", "/dev/zero", "../../../../../../../../dev/zero", "sparse",
                                 "http://127.0.0.1:9/x", "../secret"])
def test_files_that_a_mesh_names_are_plain_ones_of_its_folder(tmp_path, uri, kind):
    folder = tmp_path / "meshes"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "endless").symlink_to("/dev/zero")
    (tmp_path / "secret").write_bytes(b"newmtl stolen\n" + bytes(48))
    with (folder / "sparse").open("wb") as out:
        out.truncate(40 << 30)
    file = beside(folder, uri, kind)
    answer, seconds, megabytes = cost("from pathlib import Path\nfrom dinemo_training.synthetic.assets.mesh_file "
                                      "import load_mesh_file",
                                      "load_mesh_file(Path(sys.argv[1])).visual", str(file))
    if kind == "numbers":
        assert answer.startswith("ValueError") and "cannot be read as a mesh" in answer
    assert "stolen" not in answer
    assert_cheap(seconds, megabytes)


def test_files_in_the_folder_of_a_mesh_are_read(tmp_path):
    numbers = struct.pack("<9f3I", 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 2)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a.bin").write_bytes(numbers)
    (tmp_path / "b.bin").write_bytes(numbers)
    for uri in ("below/a.bin", "b.bin", "textures/b.bin"):  # the last by its name alone
        assert [len(mesh.faces) for _, mesh in read_scene(beside(tmp_path, uri, "numbers"))] == [1]


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".glb", ".stl"])
def test_a_pipe_is_no_mesh(tmp_path, suffix):
    os.mkfifo(tmp_path / f"a{suffix}")
    with pytest.raises(ValueError, match="is a folder, device, pipe or socket; give a file"):
        read_cad(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"",
                                     b"\x89PNG\r\n\x1a\n", None])
def test_a_texture_is_a_picture_that_no_program_is_started_for(tmp_path, content):
    if content is None:
        os.mkfifo(tmp_path / "a.png")
    else:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.png: (cannot be read|UnidentifiedImageError|SyntaxError|OSError)"):
        texture_pixels(tmp_path / "a.png")


@pytest.mark.parametrize("text", ["", "numvert 1000000000000\n", "numvert 3\n1 2 3\n", "numvert x\n", "numsurf 1\n",
                                  "texture base\nnumsurf 0\n", None,
                                  'texture "t.png" base\nnumvert 0\nnumsurf 1\nSURF 0x10\n'])
def test_a_car_of_torcs_that_is_none(tmp_path, text):
    folder = tmp_path / "car"
    folder.mkdir()
    if text is None:
        os.mkfifo(folder / "car.acc")
    else:
        (folder / "car.acc").write_text(text)
    with pytest.raises(ValueError, match=r"car\.(acc|xml): cannot be read as a car of TORCS"):
        read_acc_car(folder)
