"""Data: what is held on the device, what is streamed, and where files come from."""

from vita_jax._lazy import submodules
from vita_jax.base.hashing import file_sha256
from vita_jax.data.files import read_npz
from vita_jax.data.files_image import read_image
from vita_jax.data.folders import ImageFolder
from vita_jax.data.graphs import Graph, load_graph, load_graph_npz
from vita_jax.data.histograms import apply_curves, histogram_curves
from vita_jax.data.image_pool import ImagePool, empty_pool, empty_pool_like, push_and_sample
from vita_jax.data.images import Images, load_images
from vita_jax.data.pairs import cartoons, folder_pairs, grid_crops, pair_rows
from vita_jax.data.people import People, PersonRows, WideCrops
from vita_jax.data.people_files import read_coco, read_mpii, read_people
from vita_jax.data.photographs import Photographs, load_photographs, split_photographs
from vita_jax.data.poses import Poses, crops_of, load_people, load_poses, split_people
from vita_jax.data.resident import Resident, check, n_batches, n_rows
from vita_jax.data.sources import data_file, load
from vita_jax.data.stream import Stream
from vita_jax.data.tiles import through_tiles

__all__ = [
  "Graph",
  "ImageFolder",
  "ImagePool",
  "Images",
  "People",
  "PersonRows",
  "Photographs",
  "Poses",
  "Resident",
  "Stream",
  "WideCrops",
  "apply_curves",
  "cartoons",
  "check",
  "crops_of",
  "data_file",
  "empty_pool",
  "empty_pool_like",
  "file_sha256",
  "folder_pairs",
  "grid_crops",
  "histogram_curves",
  "load",
  "load_graph",
  "load_graph_npz",
  "load_images",
  "load_people",
  "load_photographs",
  "load_poses",
  "n_batches",
  "n_rows",
  "pair_rows",
  "push_and_sample",
  "read_coco",
  "read_image",
  "read_mpii",
  "read_npz",
  "read_people",
  "split_people",
  "split_photographs",
  "through_tiles",
]

__getattr__, __dir__ = submodules(__name__)
