# SPDX-License-Identifier: Apache-2.0
"""Offline half: from unlabelled photographs and a rough shape to a bundle for the runtime.

Order of the stages, each a module that runs with ``python -m``: template sequences (:mod:`training.sequences`),
pseudo-labels (:mod:`training.pseudo_labels`), contrastive training (:mod:`training.train`), export
(:mod:`training.export`); :mod:`training.pipeline` runs them all. Nothing in the runtime imports this package.
"""
