# SPDX-License-Identifier: Apache-2.0
"""Teachers: networks trained on other data, whose features of similar image patches are similar.

One protocol (:class:`Teacher`): RGB pictures -> unit-norm feature maps; :func:`create_teacher` builds any of them from
one line of text. Measured on cars, an ImageNet CNN with features of stride 16 tells views apart better than the small
vision transformer at hand (training/docs/bidirectional.md), so it is the default here.
"""

from .cached import CachedTeacher
from .convolutional import CnnTeacher, TimmCnnTeacher
from .fused import FusedTeacher
from .protocol import Teacher, prepare_picture
from .specification import create_teacher
from .trained_student import StudentTeacher
from .vision_transformer import TimmTeacher

__all__ = ["CachedTeacher", "CnnTeacher", "FusedTeacher", "StudentTeacher", "Teacher", "TimmCnnTeacher",
           "TimmTeacher", "create_teacher", "prepare_picture"]
