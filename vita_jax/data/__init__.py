"""Data: what is held on the device, what is streamed, and where files come from."""

from vita_jax._lazy import submodules
from vita_jax.base.hashing import file_sha256
from vita_jax.data.files import read_npz
from vita_jax.data.graphs import Graph, load_graph, load_graph_npz
from vita_jax.data.images import Images, load_images
from vita_jax.data.resident import Resident, check, n_batches, n_rows
from vita_jax.data.sources import load
from vita_jax.data.stream import Stream

__all__ = [
  "Graph",
  "Images",
  "Resident",
  "Stream",
  "check",
  "file_sha256",
  "load",
  "load_graph",
  "load_graph_npz",
  "load_images",
  "n_batches",
  "n_rows",
  "read_npz",
]

__getattr__, __dir__ = submodules(__name__)
