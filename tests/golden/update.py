"""The resolved configs as text: `python tests/golden/update.py` rewrites them; a diff shows what changed.

The text of configs/<paper>/<name>.py:<argument> is tests/golden/<paper>/<name>_<argument>.json. A config that
has none yet gets one without argument; `update.py configs/l2o/dm.py:plain ...` adds those that it names.
"""

import json
import sys
from pathlib import Path

from vita_jax.base.files import load_python_file

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FILES = sorted(path for path in (ROOT / "configs").glob("*/*.py") if not path.name.startswith("table"))


def config_of(golden):
  """(config, argument) of a golden file, as `configs/<paper>/<name>.py` and text; None if it is gone."""
  names = [path.stem for path in FILES if path.parent.name == golden.parent.name]
  for name in sorted(names, key=len, reverse=True):
    if golden.stem.startswith(f"{name}_"):
      return f"configs/{golden.parent.name}/{name}.py", golden.stem.removeprefix(f"{name}_").replace("+", ":")
  return None


def _configs():
  found = {str(path.relative_to(ROOT)): [] for path in FILES}
  for path, argument in filter(None, map(config_of, GOLDEN)):
    found[path].append(argument)
  return {path: arguments or [""] for path, arguments in found.items()}


GOLDEN = sorted(HERE.glob("*/*.json"))
CONFIGS = _configs()  # config file -> arguments that have a golden text


def resolved(path, argument):
  """The text of a resolved config: JSON, sorted."""
  module = load_python_file(ROOT / path)
  config = json.loads(module.get_config(argument).to_json_best_effort())
  return json.dumps(config, indent=1, sort_keys=True) + "\n"


def golden_file(path, argument):
  """Where the golden text of a config lives."""
  paper, name = Path(path).parent.name, Path(path).stem
  return HERE / paper / f"{name}_{argument.replace(':', '+')}.json"  # not every file system takes a colon


if __name__ == "__main__":
  named = [name.partition(":")[::2] for name in sys.argv[1:]]
  for path, argument in named or [(path, a) for path, arguments in CONFIGS.items() for a in arguments]:
    target = golden_file(path, argument)
    target.parent.mkdir(exist_ok=True)
    target.write_text(resolved(path, argument))
