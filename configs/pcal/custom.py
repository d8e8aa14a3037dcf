"""PCAL on a table of your own.

  python launch/train.py --config=configs/pcal/custom.py --config.data.path=my.csv \\
    --config.data.schema=schema.json --workdir=runs/mine

schema.json says what each column is for, e.g.

  {"numeric": ["age"], "log_numeric": ["income", "balance"], "categorical": ["job"],
   "target": "status == charged_off", "private": {"rich": "income > 60000", "home": "home_ownership"},
   "drop": ["id"], "missing": "fill", "unseen": "zeros"}

`missing` "fill": numbers take the training median, a missing category counts as one; "error" is the default.
`unseen` "zeros": a category that the file did not have encodes as zeros; "error" is the default. All columns
need a role. All attributes under `private` are hidden at once unless --config.attributes names some; their
columns are taken out of the inputs (--config.variant=include leaves them in).
The argument is the name of one private attribute, or empty: all of them.
Hardware and time: two CPU cores; 30,000 rows take about 80 s with their audit, and 2 GB.
Numbers: audit.md in the run's folder; which of them to trust is in vita_jax/papers/pcal/README.md.
"""

from vita_jax.papers.pcal.recipe import default_config


def get_config(attribute: str = ""):
  return default_config("", (attribute,) if attribute else ())
