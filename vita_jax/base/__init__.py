"""The ground floor: what every other part may use, and what imports nothing of ours."""

from vita_jax._lazy import submodules
from vita_jax.base.choose import choose, hint, nearest
from vita_jax.base.files import (
  load_python_file,
  parse_json,
  read_json,
  write_bytes,
  write_json,
  write_npz,
  write_text,
)
from vita_jax.base.hashing import arrays_sha256, file_sha256, mix
from vita_jax.base.keys import (
  Key,
  Rule,
  above,
  any_path,
  at_least,
  between,
  boolean,
  check,
  check_preset,
  defaults,
  each,
  explain,
  half_open,
  one_of,
  section,
  text,
)
from vita_jax.base.latency import measure_latency
from vita_jax.base.memory import keep_freed_memory
from vita_jax.base.processes import end_with
from vita_jax.base.tree import named_leaves, path_name

__all__ = [
  "Key",
  "Rule",
  "above",
  "any_path",
  "arrays_sha256",
  "at_least",
  "between",
  "boolean",
  "check",
  "check_preset",
  "choose",
  "defaults",
  "each",
  "end_with",
  "explain",
  "file_sha256",
  "half_open",
  "hint",
  "keep_freed_memory",
  "load_python_file",
  "measure_latency",
  "mix",
  "named_leaves",
  "nearest",
  "one_of",
  "parse_json",
  "path_name",
  "read_json",
  "section",
  "text",
  "write_bytes",
  "write_json",
  "write_npz",
  "write_text",
]

__getattr__, __dir__ = submodules(__name__)
