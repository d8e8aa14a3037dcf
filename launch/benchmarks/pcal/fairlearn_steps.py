"""Worker: epochs of fairlearn's AdversarialFairnessClassifier (torch), widths and batches as PCAL's."""

from __future__ import annotations

import sys
import warnings

import numpy as np

from benchmarks.measure import serve
from benchmarks.pcal.steps import make_config

try:
  import torch  # noqa: F401
  from fairlearn.adversarial import AdversarialFairnessClassifier
except ImportError as error:
  sys.exit(f"{error.name} is missing, which this comparison needs: pip install torch fairlearn")


def main() -> None:
  from vita_jax.data import tabular
  from vita_jax.papers import pcal

  config = make_config("peer")
  table, schema = pcal.read(config)
  task = pcal.make_task(table, schema, attributes=tuple(config.attributes), variant=config.variant)
  x = tabular.assemble(task.encoding, task.arrays["numbers"], task.arrays["codes"])[:18_000].astype(
    np.float32
  )
  y, s = task.arrays["target"][:18_000], task.arrays["private"][:18_000, 0].astype(int)
  # Leaky: fairlearn divides by the norm of a layer's gradient, and relu units may all be dead (NaN).
  widths = (*config.encoder_widths, config.latent, *config.head_widths)
  predictor = [part for width in widths for part in (width, "leaky_relu")]
  model = AdversarialFairnessClassifier(
    backend="torch",
    predictor_model=predictor,
    adversary_model=[64, "leaky_relu", 64, "leaky_relu"],
    predictor_optimizer="Adam",
    adversary_optimizer="Adam",
    learning_rate=config.learning_rate,
    alpha=1.0,
    epochs=1,
    batch_size=config.batch_size,
    warm_start=True,
    random_state=0,
  )

  def run(n: int) -> None:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      for _ in range(n):
        model.fit(x, y, sensitive_features=s)

  run(1)
  serve(run, samples=len(x), threads=torch.get_num_threads())


if __name__ == "__main__":
  main()
