"""A wide MLP whose weights are spread over the mesh axis `model`, and whose optimizer state follows."""

from jax.sharding import PartitionSpec as P
from laws import digits
from laws.row import Row

from vita_jax.train.shardings import spread

# The two layers' weights are cut along their hidden units; Adam's moments have the same names behind theirs.
BY_MODEL = (
  ("layers_0/kernel$", P(None, "model")),
  ("layers_0/bias$", P("model")),
  ("layers_2/kernel$", P("model")),
  (".*", P()),
)
FULLY = ((r"^(params|tx)/", spread("data")), (".*", P()))


def _config(folder):
  del folder
  config = digits.get_config()
  config.update({"steps": 20, "log_every": 5, "hidden": 512, "shard": "model"})
  return config


def build(config):
  rules = {"model": BY_MODEL, "fully": FULLY, "none": ((".*", P()),)}[config.shard]
  return digits.build(config)._replace(shard=rules)


ROW = Row(_config, build, {"model": 2, "data": 1})
