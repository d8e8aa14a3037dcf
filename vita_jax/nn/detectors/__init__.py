"""Person detectors as pure functions: scores with gradients, and boxes. `load("nanodet")`; see README.md."""

from vita_jax._lazy import submodules
from vita_jax.nn.detectors.detector import NAMES, Detector, load

__all__ = ["NAMES", "Detector", "load"]

__getattr__, __dir__ = submodules(__name__)
