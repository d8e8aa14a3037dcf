"""Data: what is held on the device, what is streamed, and where files come from."""

from vita_jax._lazy import submodules
from vita_jax.base.hashing import file_sha256
from vita_jax.data.files import read_npz
from vita_jax.data.files_image import read_image
from vita_jax.data.folders import ImageFolder
from vita_jax.data.graphs import Graph, load_graph, load_graph_npz
from vita_jax.data.images import Images, load_images
from vita_jax.data.resident import Resident, check, n_batches, n_rows
from vita_jax.data.sources import data_file, load
from vita_jax.data.stream import Stream

__all__ = [
  "Graph",
  "ImageFolder",
  "Images",
  "Resident",
  "Stream",
  "check",
  "data_file",
  "file_sha256",
  "load",
  "load_graph",
  "load_graph_npz",
  "load_images",
  "n_batches",
  "n_rows",
  "read_image",
  "read_npz",
]

__getattr__, __dir__ = submodules(__name__)
