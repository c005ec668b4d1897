"""The parts of an object detector: boxes, anchors, network, loss, training recipe and evaluation.

Boxes are float32 (..., 4): left, top, right, bottom in pixels, with 0 at the left edge of the first pixel.
Labels are float32 (images, most, 5): a box and its class. A class of -1 is an empty row; -2 - c is a region
of class c in which detections are not judged (a crowd in COCO, a difficult object in VOC).
"""
