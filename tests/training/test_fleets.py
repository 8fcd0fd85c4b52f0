# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Which cars are drawn is data: the shipped file says what stood in code, and a file of one's own is enough."""

import numpy as np
import pytest

trimesh = pytest.importorskip("trimesh", reason="training extra is not installed")

from dinemo_ros.errors import DatasetError
from dinemo_training.synthetic.assets.car_catalogue import fleet, load_fleet
from dinemo_training.synthetic.render.dataset import model_files

FLEET = """held_out: [van]
gazebo:
  - {name: truck, weight: 1.0, mesh: truck/truck.obj, front: -y, size: [6.0, 2.0, 2.5], textures: {}, glass: [pane]}
torcs:
  - {name: van, weight: 0.5, windows: [[0.1, 0.2, 0.3, 0.4]]}
"""


def write(folder, document: str = FLEET) -> str:
    (folder / "fleet.yaml").write_text(document)
    return str(folder / "fleet.yaml")


def test_the_shipped_fleet_is_the_one_that_stood_in_code():
    cars = {car.name: car for car in fleet().cars}
    assert fleet().held_out == ("hatchback", "p406", "beetle") and len(cars) == len(fleet().cars) == 23
    assert [sum(car.source == source for car in cars.values()) for source in ("gazebo", "metadrive", "torcs", "cad")] \
        == [3, 3, 14, 3]
    assert cars["prius"].place == "prius_hybrid/meshes/Hybrid.obj" and cars["p406"].place == "p406/p406.acc"
    assert cars["cad-03"].place == "03.obj" and cars["130"].place == "130" and cars["baja-bug"].weight == 0.4
    assert sum(car.weight for car in cars.values()) == pytest.approx(20.9)


def test_a_fleet_of_ones_own_is_a_file_and_no_code(tmp_path):
    (tmp_path / "truck").mkdir()
    box = trimesh.creation.box((1, 3, 1))
    box.visual = trimesh.visual.TextureVisuals(material=trimesh.visual.material.SimpleMaterial(name="pane"))
    box.export(tmp_path / "truck" / "truck.obj", mtl_name="truck.mtl")
    known = fleet(write(tmp_path))
    (asset,), weights = load_fleet({"gazebo": tmp_path}, ["truck"], known)
    assert asset.size == pytest.approx([6.0, 2.0, 2.5]) and weights == pytest.approx(np.ones(1))
    drawn = model_files({"gazebo": str(tmp_path), "torcs": str(tmp_path), "fleet": str(tmp_path / "fleet.yaml")})
    assert drawn == [tmp_path / "truck" / "truck.obj"], "the other is held out"


@pytest.mark.parametrize("change, told", [
    (("front: -y", "front: x"), "front is 'x'; allowed: -y, .y"), (("[6.0, 2.0, 2.5]", "[6.0]"), r"size is \[6.0\]"),
    (("truck/truck.obj", "../truck.obj"), r"mesh is '../truck.obj'; allowed: a file below"),
    (("weight: 0.5", "weight: none"), "weight is 'none'; allowed: a number above 0"),
    (("held_out: [van]", "held_out: [bus]"), r"held_out is \['bus'\]; allowed: names of cars of the file"),
    (("torcs:", "trucks:"), "a fleet is a mapping with the keys held_out, gazebo"),
    (("weight: 0.5, ", ""), "torcs: key weight is missing; keys are name, weight, windows"),
    (("torcs:", "cad:"), r"cad is \['mesh', 'front'\]; allowed: all of name, weight, mesh, front"),
    (("[0.1, 0.2, 0.3, 0.4]", "[0.1]"), r"windows is \[\[0.1\]\]; allowed: boxes"),
])
def test_a_wrong_fleet_is_told_with_its_file(change, told, tmp_path):
    assert change[0] in FLEET
    with pytest.raises(DatasetError, match=rf"fleet.yaml: .*{told}"):
        fleet(write(tmp_path, FLEET.replace(*change)))


def test_a_fleet_that_is_not_there_is_told():
    with pytest.raises(DatasetError, match="lorries is no fleet that is known; allowed: car, or the path of a YAML"):
        fleet("lorries")
    with pytest.raises(DatasetError, match="nowhere.yaml: .*training/configs/fleets has files to start from"):
        fleet("nowhere.yaml")
