# SPDX-License-Identifier: Apache-2.0
"""Markdown that is made from the code when the documentation is built."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest import mock as unittest_mock

import sources
from sphinx.ext.autodoc.mock import mock

#: What the reference of the Python API shows, by heading. A name that ``dinemo_ros`` exports is shown as exported,
#: another one where it is defined.
PUBLIC = {
    "Estimate": ("PoseEstimator", "PoseTracker", "Tracking"),
    "Several categories": ("MultiPoseEstimator", "MultiPoseTracker", "LabelledBox"),
    "What comes back": ("ObjectPose", "Hypothesis"),
    "Cameras": ("Camera",),
    "Bundles": ("find_bundle", "shipped_categories", "load_bundle", "write_bundle", "Bundle", "NeuralMesh"),
    "The card of a bundle, `model.yaml`": ("Card", "SizePrior", "Symmetry", "ImageSpec", "FeatureSpec", "ScoreSpec",
                                           "CalibrationSpec", "UncertaintySpec", "SearchSpec", "GraspSpec"),
    "Grasps": ("grasp_frames", "Grasp"),
    "Pictures to work on": ("open_source", "Source", "Frame", "draw_poses"),
    "Backends": ("create_extractor", "FeatureExtractor"),
    "Errors": ("DinemoError", "CameraError", "BundleError", "ImageError", "RoiError", "DatasetError", "OutputError",
               "BackendError"),
}
_FUNCTIONS = "autofunction"


def make(words: Sequence[str], root: Path, mocked: Sequence[str]) -> str:
    """The Markdown that ``<!-- generated: WORDS -->`` stands for; ``mocked``: modules that may be missing."""
    name, *arguments = words
    with mock([module for module in mocked if module not in sys.modules]):
        return _MAKERS[name](root, *arguments)


def _parameters(root: Path, schema: str) -> str:
    module = importlib.import_module("dinemo_ros.node.parameters")
    return escaped(module.markdown_table(getattr(module, schema)))


def _launch(root: Path, file: str) -> str:
    rows = [(f"`{name}`", f"`{default}`" if default else "", ", ".join(f"`{choice}`" for choice in choices), text)
            for name, default, choices, text in launch_arguments(root / "launch" / file)]
    return table(("argument", "default", "choices", "meaning"), rows)


def launch_arguments(path: Path) -> list[tuple[str, str, tuple[str, ...], str]]:
    """Name, default, choices and description of every argument that a launch file declares, by running it."""
    declared = []

    class Declared:
        def __init__(self, name, default_value="", description="", choices=None, **_) -> None:
            declared.append((name, _path_of(default_value), tuple(choices or ()), description))

    stand_ins = {name: types.ModuleType(name) for name in (
        "launch", "launch.actions", "launch.conditions", "launch.event_handlers", "launch.events",
        "launch.substitutions", "launch_ros", "launch_ros.actions", "launch_ros.parameter_descriptions",
        "launch_ros.substitutions")}
    for stand_in in stand_ins.values():
        stand_in.__getattr__ = lambda name: _Part  # any other action or substitution
    stand_ins["launch.actions"].DeclareLaunchArgument = Declared
    with unittest_mock.patch.dict(sys.modules, stand_ins):
        spec = importlib.util.spec_from_file_location(path.name.replace(".", "_"), path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        with unittest_mock.patch.object(module, "profile", dict, create=True):  # asks for an installed package
            module.generate_launch_description()
    return declared


class _Part:
    """An action or substitution of a launch file; keeps what it was made of."""

    def __init__(self, *parts, **_) -> None:
        self.parts = parts

    def __getattr__(self, name: str) -> Callable:
        return lambda *arguments, **_: _Part(*arguments)


def _path_of(part: _Part | str) -> str:
    """A text as it is; of the package's share folder joined with a path, ``share/dinemo_ros/config/pose.yaml``."""
    if isinstance(part, str):
        return part
    inner = part.parts[0] if part.parts and isinstance(part.parts[0], (list, tuple)) else part.parts
    return "/".join(["share/dinemo_ros", *(item for item in inner if isinstance(item, str))])


def _commands(root: Path) -> str:
    module = importlib.import_module("dinemo_ros.cli.main")
    return "\n\n".join(_command(parser) for parser in leaves(module.build_parser()))


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The commands below ``parser`` that have none below themselves; each once, aliases left out."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield parser
    for child in dict.fromkeys(child for action in below for child in action.choices.values()):
        yield from leaves(child)


def _command(parser: argparse.ArgumentParser) -> str:
    formatter = parser._get_formatter()
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction) or action.help is argparse.SUPPRESS:
            continue
        names = ", ".join(action.option_strings) or str(action.metavar or action.dest)
        value = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else (
            action.metavar or action.dest.upper())
        value = "" if action.nargs == 0 or not action.option_strings else str(value)
        rows.append((f"`{names}{' ' * bool(value)}{value}`", formatter._expand_help(action) if action.help else ""))
    text = (parser.description or "").strip()
    examples = f"\n\n```text\n{parser.epilog.strip()}\n```" if parser.epilog else ""
    return f"## {parser.prog}\n\n```text\n{text}\n```\n\n{table(('argument', 'meaning'), rows)}{examples}"


def _api(root: Path) -> str:
    package = importlib.import_module("dinemo_ros")
    places = sources.definitions(root / "src")
    blocks = []
    for heading, names in PUBLIC.items():
        blocks.append(f"## {heading}\n")
        for name in names:
            exported = name in getattr(package, "__all__", ())
            place, kind = places[name]
            target = f"dinemo_ros.{name}" if exported else f"{place}.{name}"
            directive = _FUNCTIONS if kind == "function" else "autoclass"
            members = "" if kind == "function" or name.endswith("Error") else "\n   :members:"
            blocks.append(f"```{{eval-rst}}\n.. {directive}:: {target}{members}\n```\n")
    return "\n".join(blocks)


def _modules(root: Path, package: str) -> str:
    folder = sources.package_folder(root, package)
    package, blocks = folder.name, []
    for area, modules in sources.modules_by_folder(folder).items():
        blocks.append(f"### `{package}{'.' + area.replace('/', '.') if area else ''}`\n")
        blocks.append(table(("module", "what"), [(f"`{name}`", first) for name, first in modules]))
        blocks.append("")
    return "\n".join(blocks)


def _arrows(root: Path, package: str) -> str:
    arrows = sources.imports_between_areas(sources.package_folder(root, package), package)
    return table(("part", "imports"), [(f"`{part}`", ", ".join(f"`{other}`" for other in others) or "nothing of ours")
                                       for part, others in arrows.items()])


def _messages(root: Path) -> str:
    blocks = []
    for area, messages in sources.messages(root / "src" / "dinemo_ros").items():
        blocks.append(f"## `{area}`\n")
        blocks.append(table(("message", "kind"), [(text, kind) for text, kind in messages]))
        blocks.append("")
    return "\n".join(blocks)


def _counters(root: Path) -> str:
    diagnostics = importlib.import_module("dinemo_ros.node.diagnostics")
    boxes = importlib.import_module("dinemo_ros.node.boxes")
    return "\n".join([*(f"- `rejected_{cause}`" for cause in diagnostics.CAUSES),
                      *(f"- `boxes_left_out_{reason}`" for reason in boxes.REASONS)])


def _recipe(root: Path) -> str:
    path = next(root.glob("*/configs/car.yaml"), None) or next(root.glob("src/*/configs/car.yaml"))
    return f"```yaml\n{path.read_text(encoding='utf-8').rstrip()}\n```"


_MAKERS: dict[str, Callable[..., str]] = {
    "parameters": _parameters, "launch": _launch, "commands": _commands, "api": _api, "modules": _modules,
    "arrows": _arrows, "messages": _messages, "counters": _counters, "recipe": _recipe}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; what stands in a cell is text, but for `code`."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(cell(text) for text in row)} |" for row in rows]
    return "\n".join(lines)


def cell(text: str) -> str:
    """``text`` for a cell of a table: one line, nothing in it is taken for markup."""
    return escaped(" ".join(text.split()).replace("|", "\\|"))


def escaped(text: str) -> str:
    """Markdown in which ``<`` and ``*`` outside of code stand for themselves."""
    parts = text.split("`")
    return "`".join(part if k % 2 else part.replace("<", "\\<").replace("*", "\\*").replace("$", "\\$")
                    for k, part in enumerate(parts)) if len(parts) % 2 else text.replace("`", "'").replace("<", "\\<")
