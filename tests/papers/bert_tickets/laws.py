"""The row of BERT tickets that every law is held against (tests/laws)."""

from laws.row import Row
from laws.small_texts import small_config, write_texts

from vita_jax import papers


def _row(method, **overrides):
  def config(folder):
    # The gradient of a key's bias is nothing but rounding, which Adam turns into a step of the learning rate.
    return small_config(write_texts(folder), method, learning_rate=1e-5, **overrides)

  return Row(config, papers.build, {"data": 2}, tolerance=2e-4, map_tolerance=2e-4, slow=True)


ROWS = {"bert_tickets_imp": _row("imp", sparsity=0.1)}
