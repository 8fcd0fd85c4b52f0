# SPDX-License-Identifier: Apache-2.0
"""``dinemo bundle upgrade``: the card in the format of today, with every value that it had, nothing else touched."""

from dataclasses import replace

import pytest
import yaml
from shared_data import ROOT
from unit.planted import car_card, car_mesh

from dinemo_ros.cli.main import main
from dinemo_ros.errors import BundleError
from dinemo_ros.model.bundle import CARD_FILE, MESH_FILE, load_bundle, write_bundle
from dinemo_ros.model.bundle_upgrade import upgrade_bundle


@pytest.fixture
def old(tmp_path):
    """A bundle of format 1 with old names of keys, a comment, and files that are none of a bundle's."""
    bundle = write_bundle(tmp_path / "car", car_card(license="planted"), b"fp32", car_mesh(), b"int8")
    document = yaml.safe_load((bundle.path / CARD_FILE).read_text()) | {"format": "dinemo-bundle/1"}
    document["features"]["mirrored"] = document["features"].pop("flip_tta")
    document["score"]["sure"] = document["score"].pop("tta_threshold")
    del document["calibration"], document["search"]["scale"]
    (bundle.path / CARD_FILE).write_text("# of long ago\n" + yaml.safe_dump(document))
    (bundle.path / "README.md").write_text("about it")
    (bundle.path / "notes.txt").write_text("others")
    return bundle.path


def contents(folder) -> dict:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_values_and_hashes_stay_and_only_the_card_is_written(old):
    before, card = contents(old), load_bundle(old).card
    done = upgrade_bundle(old)
    after = contents(old)
    assert {name for name in after if after[name] != before.get(name)} == {CARD_FILE} and set(after) == set(before)
    assert load_bundle(old).card == replace(card, format="dinemo-bundle/2")
    assert yaml.safe_load(after[CARD_FILE])["files"] == yaml.safe_load(before[CARD_FILE])["files"]
    assert done.changes == (
        "format is dinemo-bundle/2, was 'dinemo-bundle/1'", "features.flip_tta is the new name of features.mirrored",
        "score.tta_threshold is the new name of score.sure",
        "written down as what they were by default: calibration, calibration.depth_scale, search.scale",
        "comments, where the card had any, are not kept")


def test_a_second_time_nothing_is_to_do_and_comments_stay(old):
    upgrade_bundle(old)
    card = old / CARD_FILE
    card.write_text("# my own\n" + card.read_text())
    before, inode = contents(old), card.stat().st_ino
    assert upgrade_bundle(old).changes == ()
    assert contents(old) == before and card.stat().st_ino == inode


def test_an_old_name_in_a_card_of_today_is_replaced(old):
    upgrade_bundle(old)
    card = old / CARD_FILE
    card.write_text(card.read_text().replace("flip_tta", "mirrored"))
    assert "features.flip_tta is the new name of features.mirrored" in upgrade_bundle(old).changes
    assert "mirrored" not in card.read_text()


def test_a_mesh_that_numpy_would_pack_otherwise_is_not_touched(old):
    import hashlib

    import numpy as np
    arrays = dict(np.load(old / MESH_FILE, allow_pickle=False))
    np.savez(old / MESH_FILE, **arrays)
    content = (old / MESH_FILE).read_bytes()
    card = yaml.safe_load((old / CARD_FILE).read_text())
    card["files"][MESH_FILE] = hashlib.sha256(content).hexdigest()
    (old / CARD_FILE).write_text(yaml.safe_dump(card))
    upgrade_bundle(old)
    assert (old / MESH_FILE).read_bytes() == content


def test_into_another_folder(old, tmp_path):
    before, card = contents(old), load_bundle(old).card
    done = upgrade_bundle(old, tmp_path / "new" / "car")
    assert contents(old) == before
    assert load_bundle(done.folder).card == replace(card, format="dinemo-bundle/2")
    assert set(contents(done.folder)) == set(before) - {"notes.txt"} and done.left == ("notes.txt",)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["car"]
    with pytest.raises(BundleError, match="new/car: there is something already; give another folder, or remove it"):
        upgrade_bundle(old, tmp_path / "new" / "car")


def test_what_is_no_good_is_refused_and_left_as_it_is(old):
    (old / MESH_FILE).write_bytes(b"damaged")
    before = contents(old)
    with pytest.raises(BundleError, match=f"{MESH_FILE}: truncated or changed"):
        upgrade_bundle(old)
    assert contents(old) == before


def test_a_newer_format_is_refused(old):
    card = old / CARD_FILE
    card.write_text(card.read_text().replace("dinemo-bundle/1", "dinemo-bundle/3"))
    with pytest.raises(BundleError, match="format is dinemo-bundle/3, this version reads"):
        upgrade_bundle(old)


def test_the_command_says_what_changed(old, tmp_path, capsys):
    assert main(["bundle", "upgrade", str(old), "--out", str(tmp_path / "new")]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{tmp_path / 'new'}: written\n") and "score.tta_threshold is the new name" in said
    assert said.endswith("  not copied, no part of a bundle: 'notes.txt'\n")
    assert main(["bundle", "upgrade", str(tmp_path / "new")]) == 0
    assert capsys.readouterr().out == (
        f"{tmp_path / 'new'}: the card is in the format of today, nothing was changed\n")
    assert main(["bundle", "upgrade", str(tmp_path / "nowhere")]) == 1


@pytest.mark.parametrize("category", ["car", "cup", "bottle", "chair"])
def test_shipped_bundles_are_of_the_format_of_today(category):
    assert load_bundle(ROOT / "engines" / category).card.format == "dinemo-bundle/2"
    assert upgrade_bundle(ROOT / "engines" / category).changes == ()


def test_show(old, capsys, tmp_path):
    import json

    assert main(["bundle", "show", str(ROOT / "engines/cup"), "--json", "-"]) == 0
    printed = capsys.readouterr()
    entry = json.loads(printed.out)
    assert entry["category"] == "cup" and entry["size"] == [0.113, 0.082, 0.095] and entry["vertices"] == 296
    assert entry["grasps"] == [*(f"rim_{k}" for k in range(5)), "handle"]
    assert {file["name"] for file in entry["files"]} == {"backbone.onnx", "backbone_int8.onnx", "mesh.npz"}
    assert entry["files"][0]["sha256"][:8] == "cae5a2fe" and entry["files"][0]["bytes"] == 12130973
    assert "Apache-2.0" in printed.err
    assert main(["bundle", "show", str(old)]) == 0
    assert "license        planted" in capsys.readouterr().out
    assert main(["bundle", "show", "no_such_bundle"]) == 1
