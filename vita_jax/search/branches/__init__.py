"""Networks of parallel resolution branches: a space of them, a supernet of all, and each by itself.

For any task whose output is a map: keypoints, segmentation, depth. Tokens say which branches a stage has, how
deep they are and who sends to whom (`space`); cells are mixtures of operations (`supernet`) or chosen ones
(`derived`); a `Genotype` is one architecture as a file.
"""

from vita_jax._lazy import submodules
from vita_jax.search.branches.costs import Shape, costs_of, fitted, macs
from vita_jax.search.branches.derived import Derived, derived, taken_from
from vita_jax.search.branches.drawing import draw_genotype
from vita_jax.search.branches.genotype import Genotype, of_json, read_genotype, read_genotypes, to_json
from vita_jax.search.branches.space import Network, Space, network_of, preset, token_space, tokens_of
from vita_jax.search.branches.supernet import Supernet, averaged, forward, init_supernet

__all__ = [
  "Derived",
  "Genotype",
  "Network",
  "Shape",
  "Space",
  "Supernet",
  "averaged",
  "costs_of",
  "derived",
  "draw_genotype",
  "fitted",
  "forward",
  "init_supernet",
  "macs",
  "network_of",
  "of_json",
  "preset",
  "read_genotype",
  "read_genotypes",
  "taken_from",
  "to_json",
  "token_space",
  "tokens_of",
]

__getattr__, __dir__ = submodules(__name__)
