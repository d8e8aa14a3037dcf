"""The rows of Self-PU that every law is held against (tests/laws)."""

from laws.row import Row

from vita_jax import papers
from vita_jax.papers.self_pu.recipe import default_config


def _row(method):
  """Two phases: nnPU alone, then every block of the method at once."""

  def config(folder):
    del folder
    found = default_config("digits", method, prior=0.496, batch_size=160, validation__rows=150)
    found.data.n_labelled, found.validation.labelled = 40, 15
    found.model.hidden, found.log_every = (8,), 3
    found.epochs, found.distillation.start = 2, 1
    found.self_paced.update({"start": 0, "stop": 1, "every": 1, "increasing": False})
    found.calibration.update({"start": 1, "stop": 2})
    return found

  # Adam makes of a last bit in a gradient a step of its own size; `map` sums the last layer in another order.
  return Row(config, papers.build, {"data": 2}, tolerance=1e-4, map_tolerance=1e-6)


ROWS = {
  # The selection between phases and the choice at the end; every other block is within a step.
  "self_pu_self_paced": _row("self_paced")._replace(slow=True),
  "self_pu": _row("self_pu")._replace(slow=True),
}
