# SPDX-License-Identifier: Apache-2.0
"""How the box detector that ships in ``engines/detector`` is made from published weights; nothing is trained."""
