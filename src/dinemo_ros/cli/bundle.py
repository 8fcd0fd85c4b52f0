# SPDX-License-Identifier: Apache-2.0
"""``dinemo bundle``: what is in a bundle, its card in the format of today, and bundles from elsewhere."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..io.quoting import named, shown, shown_path
from . import options
from .output import check_outputs, prose_beside, result_file, to_json

if TYPE_CHECKING:
    from ..model.bundle import Bundle
    from .options import Commands

_UPGRADE = """\
Rewrite the card of a bundle, model.yaml, in the format of this version.

Every value and hash stays; networks and mesh are not touched; what is written otherwise is said. Comments of the card
are not kept. A card that is in the format of today is left as it is.
"""

_FETCH = """\
Take a bundle from a folder, an archive (.tar.gz or .zip) or the http(s) address of one, check it, and keep it for this
user under its name, so that --bundle NAME, category:=NAME and find_bundle() find it.

The only command that uses the network, and only to the address that is given. Where a shipped bundle has the same name,
that one would be found first: give another --name, or a folder with --out.
"""


def add_parser(subparsers: Commands) -> None:
    """Declare ``dinemo bundle`` and its three commands."""
    group = subparsers.add_parser("bundle", help="show, upgrade and fetch bundles").add_subparsers(
        title="commands", metavar="COMMAND", required=True)
    show = group.add_parser("show", help="what is in a bundle", description="Check a bundle and say what is in it.")
    show.add_argument("bundle", metavar="BUNDLE", help="a folder, or the name of an installed bundle")
    show.add_argument("--json", metavar="FILE", help="the same as JSON; - for standard output")
    show.set_defaults(run=_show)
    upgrade = group.add_parser("upgrade", help="a card in the format of this version", description=_UPGRADE,
                               formatter_class=argparse.RawDescriptionHelpFormatter)
    upgrade.add_argument("folder", metavar="DIR", help="folder of the bundle")
    upgrade.add_argument("--out", metavar="DIR", help="write the bundle there, a new or empty folder, and leave DIR as "
                         "it is")
    upgrade.set_defaults(run=_upgrade)
    fetch = group.add_parser("fetch", help="a bundle from elsewhere", description=_FETCH,
                             formatter_class=argparse.RawDescriptionHelpFormatter)
    fetch.add_argument("source", metavar="SOURCE", help="folder, archive, or http(s) address of an archive")
    fetch.add_argument("--sha256", metavar="HEX", default="", help="what the archive must have, or of a folder its "
                       "model.yaml, which holds the hashes of the other files; needed for an address")
    fetch.add_argument("--name", default="", help="what it shall be called (default: its category)")
    fetch.add_argument("--out", metavar="DIR", default="", help="keep it in this new folder instead")
    fetch.set_defaults(run=_fetch)


def _show(arguments: argparse.Namespace) -> int:
    from ..model.bundle import load_bundle

    check_outputs({"--json": arguments.json}, [])
    bundle = load_bundle(options.bundle_folder(arguments.bundle))
    entry = summary(bundle)
    with prose_beside(arguments.json):
        for name, value in entry.items():
            if name == "files":
                for file in value:
                    print(f"  {file['name']:20} {file['bytes']:>10} bytes  sha256 {file['sha256']}")
            elif name == "weights_license":
                print(f"{'weights':14} {_in_words(bundle.card.weights_license.told())}")
            else:
                print(f"{name.replace('_', ' '):14} {_in_words(value)}")
    if arguments.json:
        with result_file(arguments.json) as file:
            file.write(to_json(entry) + "\n")
    return 0


def summary(bundle: Bundle) -> dict:
    """What ``dinemo bundle show`` tells of a bundle, for JSON; lengths in metres."""
    card = bundle.card
    return {"category": card.category, "version": card.version, "format": card.format, "description": card.description,
            "license": card.license,
            "weights_license": {"terms": card.weights_license.terms or None, "why": card.weights_license.why,
                                "permissive": card.weights_license.permissive},
            "folder": str(bundle.path), "size": list(card.size_prior.mean_m),
            "symmetry": card.symmetry.document(), "vertices": len(bundle.mesh.vertices),
            "uncertainty": [*(["rgb"] if card.uncertainty else []), *card.uncertainty_by_source],
            "grasps": [name for spec in card.grasps for name in spec.names()],
            "files": [{"name": name, "bytes": (bundle.path / name).stat().st_size, "sha256": sha256}
                      for name, sha256 in card.files.items()]}


def _in_words(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return shown(value, 2000) or "none"


def _upgrade(arguments: argparse.Namespace) -> int:
    from ..model.bundle_upgrade import upgrade_bundle

    done = upgrade_bundle(arguments.folder, arguments.out)
    place = shown_path(done.folder)
    print(f"{place}: written" if done.changes else f"{place}: the card is in the format of today, nothing was changed")
    for change in done.changes:
        print(f"  {change}")
    if done.left:
        print(f"  not copied, no part of a bundle: {named(done.left, 8)}")
    return 0


def _fetch(arguments: argparse.Namespace) -> int:
    from ..model.bundle_fetch import fetch_bundle

    options.log_to_stderr()
    bundle = fetch_bundle(arguments.source, arguments.sha256, arguments.name, Path(arguments.out) if arguments.out
                          else None)
    card = bundle.card
    terms = shown(card.license, 2000) or "not told"
    print(f"{shown_path(bundle.path)}: {card.category} {card.version}, license: {terms}; weights: "
          f"{shown(card.weights_license.told(), 1400)}")
    return 0
