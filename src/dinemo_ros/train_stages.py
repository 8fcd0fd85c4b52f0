# SPDX-License-Identifier: Apache-2.0
"""Names of the stages of ``dinemo train``, for its help; what they do is in the package ``dinemo_training``."""

FAMILIES = {
    "shape": "the category's mesh: mean of CAD models, or a box",
    "photographs": "square crops of the photographs",
    "sequences": "object-centric sequences, aligned and posed without labels",
    "synthetic": "renders with exact poses to train on",
    "held_out": "renders to calibrate and to measure on",
    "negatives": "pictures without the object",
    "labels": "pseudo-labels of the photographs before a round; labels1, labels2, ... for one",
    "tokens": "views through a frozen transformer, kept on disk; tokens0, tokens1, ... for one round",
    "train": "contrastive training; train0, train1, ... for one round",
    "bundle": "weights of a round as a bundle, measured on held-out renders; bundle0, bundle1, ...",
    "export": "mean weights as a bundle, refused unless ONNX and torch agree",
    "calibrate": "distance bias, accepted score, covariance and probability on held-out pictures",
    "evaluate": "errors on held-out renders, and on spins where given",
    "publish": "the checked bundle to --out",
    "report": "report/index.html of the run folder",
}
