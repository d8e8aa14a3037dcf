"""The card of an optimizer that ships: from a run's state and the rows of a comparison's table.csv."""

import csv
import io

import jax.numpy as jnp

from vita_jax.optim.by_name import read_optimizer
from vita_jax.papers.l2o import curriculum
from vita_jax.papers.l2o.export import card
from vita_jax.papers.l2o.recipe import default_config
from vita_jax.report import Row, comma_separated, make_lines, summarize

BESIDE = ("accuracy", "steps")


def _rows():
  """What table.csv has of an optimizer `mine` that is worse than Adam, and diverged once."""
  values = {"mine": [-1.0, -1.2, None], "adam": [-2.0, -2.4, -2.2]}
  rows = [
    Row(f"mnist_mlp {n}", "c", metric="ln_loss", beside=BESIDE, baseline="mnist_mlp adam") for n in values
  ]
  summaries = {
    f"mnist_mlp {name}": {
      "seeds": [0, 1, 2],
      "metrics": {
        "ln_loss": summarize(found),
        "accuracy": summarize([0.9, 0.8, None]),
        "steps": summarize([1000, 1000, 1000]),
      },
    }
    for name, found in values.items()
  }
  return list(csv.DictReader(io.StringIO(comma_separated(make_lines(rows, summaries)))))


def test_a_card_says_where_an_optimizer_did_badly():
  config = default_config("rnnprop", "plain")
  state = {"kept": read_optimizer("rnnprop-cl-il", 0.0).weights, "curriculum": curriculum.start()}
  state |= {name: jnp.int32(40) for name in ("inner_steps", "epoch", "imitations", "skipped", "validations")}
  found = card("mine", config, {**state, "over": jnp.asarray(True)}, _rows(), command="again")
  (evaluation,) = found["evaluation"]
  assert (evaluation["task"], evaluation["steps"], evaluation["seeds"]) == ("mnist_mlp", 1000, 3)
  assert "minus adam" in evaluation and evaluation["diverged"] == 1
  assert found["limits"][0] == "mnist_mlp: 1 of 3 seeds diverged"
  assert found["limits"][1].startswith("mnist_mlp: final ln loss above that of adam by 1.10 [")
  assert found["in use"]["step bound"] == 0.01 and found["when not to use"]
  assert found["weights"] == 6641 and found["optimizer"] == {"kind": "rnnprop"}
