"""Person detectors as pure functions: scores with gradients, and boxes. `load("nanodet")`; see README.md."""

from vita_jax._lazy import submodules
from vita_jax.nn.detectors.detector import NAMES, Detector, load
from vita_jax.nn.detectors.look import Sight, fitted, load_to_look, look, threshold_of

__all__ = ["NAMES", "Detector", "Sight", "fitted", "load", "load_to_look", "look", "threshold_of"]

__getattr__, __dir__ = submodules(__name__)
