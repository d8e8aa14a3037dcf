"""OpenCV's pedestrian detector: histograms of oriented gradients and a linear SVM.

It is that of Dalal and Triggs (CVPR 2005). It has no weights to load and no gradient: for transfer only. It
needs the extra `hog`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np

from vita_jax.metrics.detection import Found

NAME = "hog"


def finder(*, threshold: float, count: int = 50) -> Callable[[np.ndarray], tuple[float, Found]]:
  """Returns a function from a picture uint8 [height, width, 3], RGB, to its best score and the boxes in it.

  A score is the SVM's margin, from 0 up (pedestrians about 1 to 4), not a probability; the best is 0 where
  nothing was found. Boxes are in pixels, as `pictures.finder` gives them; OpenCV joins those of one person.

  Raises:
    ImportError: OpenCV is missing, or is version 5, which has no HOGDescriptor.
  """
  if importlib.util.find_spec("cv2") is None:
    raise ImportError("the detector 'hog' needs OpenCV 4: pip install 'vita_jax[hog]'")
  import cv2

  if not hasattr(cv2, "HOGDescriptor"):
    raise ImportError(
      f"OpenCV {cv2.__version__} has no HOGDescriptor: pip install 'opencv-python-headless<5'"
    )
  descriptor = cv2.HOGDescriptor()
  descriptor.setSVMDetector(cv2.HOGDescriptor.getDefaultPeopleDetector())

  def find(image: np.ndarray) -> tuple[float, Found]:
    bgr = np.ascontiguousarray(image[..., ::-1])
    corners, margins = descriptor.detectMultiScale(bgr, winStride=(8, 8), padding=(16, 16), scale=1.05)
    scores = np.asarray(margins, np.float64).reshape(-1)
    corners = np.asarray(corners, np.float64).reshape(-1, 4)
    height, width = image.shape[:2]
    boxes = np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:]], axis=-1)
    kept = [i for i in np.argsort(-scores, kind="stable") if scores[i] >= threshold][:count]
    found = Found(scores[kept], np.clip(boxes[kept], 0, [width, height, width, height]))
    return float(scores.max(initial=0.0)), found

  return find
