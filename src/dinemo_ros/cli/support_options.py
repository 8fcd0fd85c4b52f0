# SPDX-License-Identifier: Apache-2.0
"""The plane that objects stand on, as it is given on a command line."""

from __future__ import annotations

import argparse
import math

import numpy as np

from ..errors import SceneError
from ..scene.support_plane import SupportPlane
from . import options

_ROUNDED = 0.02  # by how much the length of a normal that was typed by hand may differ from one


def add_support_options(parser: argparse.ArgumentParser) -> None:
    """The plane itself: read by :func:`support_plane`."""
    plane = parser.add_mutually_exclusive_group()
    plane.add_argument("--support", type=plane_numbers, metavar="NX,NY,NZ,D", help="the plane that the objects stand "
                       "on: points x with n @ x = D in the camera's optical frame (x right, y down, z forward), in "
                       "metres; n of length one points away from the support, so D is below zero, e.g. "
                       "0,-0.866,-0.5,-0.62")
    plane.add_argument("--camera-height", type=_height, metavar="M", help="the same of a level plane: metres that the "
                       "camera is above it")
    parser.add_argument("--camera-pitch", type=_pitch, metavar="DEG", help="by how much the camera of --camera-height "
                        "looks down from level, degrees (default: 0)")
    parser.add_argument("--camera-roll", type=_roll, metavar="DEG", help="its turn about the optical axis, clockwise "
                        "as it looks, degrees (default: 0)")
    add_sigma_option(parser)


def add_sigma_option(parser: argparse.ArgumentParser) -> None:
    """How exact the plane is: read by :func:`sigmas`."""
    parser.add_argument("--support-sigma", type=_sigma, metavar="DEG,MM", help="standard deviations of the plane's "
                        "normal, in degrees, and of its height at the object's foot, in millimetres (default: 1,3)")


def support_plane(arguments: argparse.Namespace) -> SupportPlane | None:
    """The plane that the options of :func:`add_support_options` describe, None where they do not.

    Raises:
        SceneError: one of them alone says nothing, or the plane cannot be one.
    """
    known = sigmas(arguments)
    if arguments.camera_height is not None:
        pitch, roll = math.radians(arguments.camera_pitch or 0.0), math.radians(arguments.camera_roll or 0.0)
        return SupportPlane.from_camera_height(arguments.camera_height, pitch, roll, **known)
    for option in ("camera_pitch", "camera_roll"):
        if getattr(arguments, option) is not None:
            raise SceneError(f"--{option.replace('_', '-')} says how the camera of --camera-height looks; give that "
                             "height, or leave it out")
    if arguments.support is not None:
        *normal, offset = arguments.support
        length = math.hypot(*normal)
        if abs(length - 1.0) > _ROUNDED:
            raise SceneError(f"--support: the normal has the length {length:.4g}; it must be of length one, and D the "
                             "distance of the plane in metres, below zero")
        return SupportPlane(np.array(normal) / length, offset, **known)
    if known:
        raise SceneError("--support-sigma says how exact the plane of --support or --camera-height is; give one of "
                         "them, or leave it out")
    return None


def sigmas(arguments: argparse.Namespace) -> dict[str, float]:
    """Keyword arguments of a :class:`SupportPlane`, radians and metres, none where --support-sigma was not given."""
    if arguments.support_sigma is None:
        return {}
    degrees, millimetres = arguments.support_sigma
    return {"normal_sigma": math.radians(degrees), "offset_sigma": 1e-3 * millimetres}


def plane_numbers(text: str) -> tuple[float, ...]:
    """``nx,ny,nz,d``, a unit vector and metres; argparse.ArgumentTypeError where it is no such list."""
    return options.number_list(text, 4, "a plane; write nx,ny,nz,d, e.g. 0,-0.866,-0.5,-0.62")


def _sigma(text: str) -> tuple[float, ...]:
    found = options.number_list(text, 2, "a pair of standard deviations; write DEG,MM, e.g. 1,3")
    if not (0.0 < found[0] <= 90.0 and 0.0 < found[1] <= 1000.0):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; above 0 up to 90 degrees and 1000 millimetres are")
    return found


def _height(text: str) -> float:
    return options.number(text, float, 0.01, 1000.0, "a height in metres")


def _pitch(text: str) -> float:
    return options.number(text, float, -90.0, 90.0, "a pitch in degrees")


def _roll(text: str) -> float:
    return options.number(text, float, -180.0, 180.0, "a roll in degrees")
