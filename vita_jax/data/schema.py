"""A schema: what each column of a table is for, as plain data (JSON, or a config)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from vita_jax.base.choose import hint
from vita_jax.base.files import read_json
from vita_jax.data.tables import Table

KEYS = (
  "numeric",
  "log_numeric",
  "categorical",
  "target",
  "private",
  "labelled",
  "drop",
  "merge",
  "missing",
  "unseen",
)
RULES = {"missing": ("error", "fill"), "unseen": ("error", "zeros", "any")}
ORDERED = (">", ">=", "<", "<=")


class Label(NamedTuple):
  """How a label is read from a column.

  `kind` "classes": its values are the classes; "test": 1 where `column operator value` holds, else 0;
  "number" and "log": the value itself, or sign(x) log(1 + |x|).
  """

  name: str
  column: str
  kind: str = "classes"
  operator: str = ""
  value: str = ""


class Schema(NamedTuple):
  """What the columns of a table are for.

  Attributes:
    numeric, log_numeric: inputs that are standardised, the latter after sign(x) log(1 + |x|).
    categorical: inputs that become one 0/1 column per category (two categories: one column).
    target, labelled: what is predicted; what marks the labelled positives of positive-unlabelled data.
    private: attributes that must not be found out. A column may be an input and make labels, too.
    drop: columns that are known and not used.
    merge: column -> {category: category it is counted as}.
    missing: "error", or "fill": numbers take the training median, a missing category counts as one.
    unseen: a category that no training row has: "error"; "zeros" in all of its columns, for up to 5 % of
      the rows (of under 20 rows: not for all of them, unless there is one row only); "any": zeros, however
      many.
  """

  numeric: tuple[str, ...] = ()
  log_numeric: tuple[str, ...] = ()
  categorical: tuple[str, ...] = ()
  target: Label | None = None
  private: tuple[Label, ...] = ()
  labelled: Label | None = None
  drop: tuple[str, ...] = ()
  merge: Mapping[str, Mapping[str, str]] = {}
  missing: str = "error"
  unseen: str = "error"

  @property
  def numbers(self) -> tuple[str, ...]:
    """The columns of numbers, `log_numeric` last."""
    return self.numeric + self.log_numeric

  @property
  def inputs(self) -> tuple[str, ...]:
    """The columns that are inputs: numbers, then categories."""
    return self.numbers + self.categorical

  @property
  def labels(self) -> tuple[Label, ...]:
    """The labels that the schema has: target, private attributes, `labelled`."""
    return tuple(x for x in (self.target, *self.private, self.labelled) if x is not None)


def parse_schema(content: Mapping[str, Any]) -> Schema:
  """Parses a schema from plain data, e.g. `{"numeric": ["age"], "target": "risk == 2", "private": ["sex"]}`.

  A label is written `column` (its values are classes), `column > 25` (also >=, <, <=, ==, !=),
  `number(column)` or `log(column)`; `private` is a list of columns, or {name: label}.

  Raises:
    ValueError: an unknown key (the nearest is named), a column in two roles, no inputs, an unknown rule.
  """
  content = dict(content)
  for key in content:
    if key not in KEYS:
      raise ValueError(f"the schema has an unknown key '{key}'{hint(key, (*KEYS, 'unseen'))}")
  for key, options in RULES.items():
    if content.get(key, "error") not in options:
      raise ValueError(f"the schema's '{key}' is '{content[key]}': choose one of {', '.join(options)}")
  roles = ("numeric", "log_numeric", "categorical", "drop")
  lists: dict[str, Any] = {role: _names(role, content.get(role) or ()) for role in roles}
  seen: dict[str, str] = {}
  for role, columns in lists.items():
    for column in columns:
      if column in seen:
        raise ValueError(f"the schema names column '{column}' under '{seen[column]}' and '{role}': keep one")
      seen[column] = role
  private = content.get("private") or {}
  if not isinstance(private, Mapping):
    private = {name: name for name in _names("private", private)}
  single: dict[str, Any] = {
    k: parse_label(k, content[k]) if content.get(k) else None for k in ("target", "labelled")
  }
  merge = {c: {str(k): str(v) for k, v in m.items()} for c, m in (content.get("merge") or {}).items()}
  schema = Schema(
    **lists,
    **single,
    private=tuple(parse_label(name, text) for name, text in private.items()),
    merge=merge,
    **{key: content.get(key, "error") for key in RULES},
  )
  if not schema.inputs:
    raise ValueError("the schema has no inputs: name columns under numeric, log_numeric or categorical")
  if wrong := [c for c in merge if c not in schema.categorical]:
    raise ValueError(f"the schema merges categories of '{wrong[0]}', which is not under 'categorical'")
  if twice := sorted({"target", "labelled"} & {label.name for label in schema.private}):
    raise ValueError(f"the schema has a private attribute named '{twice[0]}': give it another name")
  return schema


def load_schema(path: str | os.PathLike) -> Schema:
  """Loads a schema from a JSON file; see `parse_schema` for what it holds.

  Raises:
    FileNotFoundError: no such file.
    ValueError: not a JSON object, or not a schema; the message names the file.
  """
  content = read_json(path, what="a schema (JSON)")
  try:
    return parse_schema(content)
  except ValueError as error:
    raise ValueError(f"{os.fspath(path)}: {error}") from error


def schema_content(schema: Schema) -> dict[str, Any]:
  """Returns the plain data that `parse_schema` makes the schema from."""
  content: dict[str, Any] = {
    k: list(getattr(schema, k)) for k in ("numeric", "log_numeric", "categorical", "drop")
  }
  content |= {k: _written(getattr(schema, k)) for k in ("target", "labelled") if getattr(schema, k)}
  content["private"] = {label.name: _written(label) for label in schema.private}
  return content | {"merge": dict(schema.merge), "missing": schema.missing, "unseen": schema.unseen}


def without(schema: Schema, columns: Iterable[str]) -> Schema:
  """Drops columns from the inputs of a schema; labels that are made from them stay."""
  gone = set(columns)
  return schema._replace(
    numeric=tuple(c for c in schema.numeric if c not in gone),
    log_numeric=tuple(c for c in schema.log_numeric if c not in gone),
    categorical=tuple(c for c in schema.categorical if c not in gone),
    drop=(*schema.drop, *(c for c in schema.inputs if c in gone)),
    merge={c: m for c, m in schema.merge.items() if c not in gone},
  )


def check_columns(schema: Schema, table: Table, *, labels: bool) -> None:
  """Refuses a table that lacks columns of the schema's inputs (and, if `labels`, of its labels).

  Raises:
    ValueError: the absent columns, each with the nearest name that is there.
  """
  wanted = dict.fromkeys(schema.inputs + (tuple(x.column for x in schema.labels) if labels else ()))
  if absent := [c for c in wanted if c not in table.columns]:
    each = ", ".join(f"'{c}'{hint(c, table.columns)}" for c in absent[:5])
    more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
    raise ValueError(f"{table.source} has no column {each}{more}: rename it, or change the schema")


def check_roles(schema: Schema, table: Table) -> None:
  """Refuses a table with columns that the schema does not mention, which may be an oversight.

  Raises:
    ValueError: those columns.
  """
  known = {*schema.inputs, *schema.drop, *(label.column for label in schema.labels)}
  if others := [c for c in table.columns if c not in known]:
    raise ValueError(
      f"{table.source} has columns without a role: {', '.join(others[:8])}"
      f"{' ...' if len(others) > 8 else ''}: give each one in the schema, 'drop' if it is not used"
    )


def _names(role: str, names: Any) -> tuple[str, ...]:
  if isinstance(names, str):
    raise ValueError(f"the schema's '{role}' is the text '{names}': give a list of column names")
  return tuple(str(name) for name in names)


def parse_label(name: str, text: str) -> Label:
  """Parses a label from its text: `column`, `column > 25`, `number(column)`, ... (see `parse_schema`)."""
  if found := re.fullmatch(r"(number|log)\((.+)\)", text.strip()):
    return Label(name, found[2].strip(), found[1])
  if not (found := re.fullmatch(r"(.+?)\s*(>=|<=|==|!=|>|<)\s*(.+)", text.strip())):
    return Label(name, text.strip())
  column, operator, value = found.groups()
  if operator in ORDERED:
    try:
      float(value)
    except ValueError:
      raise ValueError(f"the schema's label '{text}' compares with '{value}', which is no number") from None
  return Label(name, column, "test", operator, value.strip())


def _written(label: Label) -> str:
  written = {"classes": label.column, "test": f"{label.column} {label.operator} {label.value}"}
  return written.get(label.kind, f"{label.kind}({label.column})")
