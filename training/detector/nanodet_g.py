# SPDX-License-Identifier: Apache-2.0
"""What is known of the shipped detector's network from those who trained it: RangiLyu/nanodet, config/nanodet-g.yml."""

from __future__ import annotations

import numpy as np

NAME, VERSION = "nanodet-g", "1.0"
#: Of the pixels that it was trained with, in the order blue, green, red.
MEAN = np.array([103.53, 116.28, 123.675], np.float32)
DEVIATION = np.array([57.375, 57.12, 58.395], np.float32)
STRIDES, BINS, MULTIPLE = (8, 16, 32), 11, 32
#: The classes of COCO's boxes in their order.
LABELS = tuple("""\
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign,
parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, handbag,
tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard,
tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot,
hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, mouse, remote,
keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear,
hair drier, toothbrush""".replace("\n", " ").split(", "))
