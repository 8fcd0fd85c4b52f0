# SPDX-License-Identifier: Apache-2.0
"""One training run, ``dinemo train``: the recipe, the plan of its stages, the folder it fills."""
