"""Tables of config keys: name, default, rule and meaning in one place.

A table gives a config its defaults (`defaults`), is what a config is checked against (`check`), and is
what `launch/train.py --explain` prints (`explain`):

    KEYS = (
      Key("epochs", 200, at_least(1), "Passes over the training rows."),
      Key("model.kind", "mlp", one_of("mlp", "cnn"), "The network."),
    )
    config = defaults(KEYS)      # ConfigDict: config.epochs, config.model.kind
    check(config, KEYS)          # ValueError: config.epochs is 0: it must be a whole number, at least 1
"""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import ml_collections

from vita_jax.base.choose import choose, listed, nearest


class Rule(NamedTuple):
  """What a value must be: `text` completes "it must be ...", `holds(value)` tells whether it is.

  `options` lists the values of a key that is a choice, so that a mistyped one is answered by the nearest.
  """

  text: str
  holds: Callable[[Any], bool]
  options: tuple[str, ...] = ()


class Key(NamedTuple):
  """One key of a config.

  Attributes:
    name: dotted.
    default: its value unless a config file or the command line says otherwise.
    rule: what it must be; `allowed` is that, too, where the default is a whole number.
    meaning: one sentence, with the unit.
  """

  name: str
  default: Any
  rule: Rule
  meaning: str

  @property
  def allowed(self) -> Rule:
    """The rule, for whole numbers only where the default is one (a ConfigDict keeps the type of a value)."""
    whole = isinstance(self.default, int) and self.rule.text.startswith(NUMBER)
    return self.rule._replace(text=self.rule.text.replace(NUMBER, WHOLE, 1)) if whole else self.rule

  def holds(self, value: Any) -> bool:
    """Tells whether a value is allowed; one of a type that the rule cannot be asked of is not."""
    try:
      fits = bool(self.rule.holds(value))
    except (TypeError, AttributeError):  # the least of a text, the length of a number
      return False
    return fits and (not self.allowed.text.startswith(WHOLE) or isinstance(value, int))


MOST = 2**32  # of any whole number: beyond it arrays cannot be
NUMBER, WHOLE = "a finite number", "a whole number"
any_path = Rule("a path, or empty", lambda value: isinstance(value, str))
boolean = Rule("True or False", lambda value: isinstance(value, bool))


def text(what: str) -> Rule:
  """Returns the rule: any text; `what` says of what, e.g. "the name of a column"."""
  return Rule(what, lambda value: isinstance(value, str))


def one_of(*options: str) -> Rule:
  """Returns the rule: one of these texts, of which one may be empty."""
  return Rule(f"one of {listed(options)}", lambda value: value in options, options)


def each(what: str, holds: Callable[[Any], bool], *, least: int = 0) -> Rule:
  """Returns the rule: a tuple of at least `least` entries, each of which holds (a list came through JSON)."""

  def fits(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) >= least and all(map(holds, value))

  return Rule(what, fits)


def at_least(least: float) -> Rule:
  """Returns the rule: a finite number from `least` on."""
  return Rule(f"{NUMBER}, at least {_exact(least)}", lambda value: _is_number(value) and value >= least)


def above(bound: float) -> Rule:
  """Returns the rule: a finite number greater than `bound`."""
  return Rule(f"{NUMBER}, above {_exact(bound)}", lambda value: _is_number(value) and value > bound)


def between(least: float, most: float) -> Rule:
  """Returns the rule: a finite number from `least` to `most`, both included."""
  text = f"{NUMBER}, from {_exact(least)} to {_exact(most)}"
  return Rule(text, lambda value: _is_number(value) and least <= value <= most)


def half_open(least: float, bound: float) -> Rule:
  """Returns the rule: a finite number from `least`, included, to `bound`, left out."""
  text = f"{NUMBER}, from {_exact(least)} on and below {_exact(bound)}"
  return Rule(text, lambda value: _is_number(value) and least <= value < bound)


def _exact(number: float) -> str:
  return repr(number).removesuffix(".0")  # `:g` would print 2147483646 as 2.14748e+09


def _is_number(value: Any) -> bool:
  return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def defaults(*tables: Iterable[Key]) -> ml_collections.ConfigDict:
  """Returns a config with the defaults of all keys of the tables; a later table overrides an earlier one."""
  nested: dict[str, Any] = {}
  for key in (key for table in tables for key in table):
    *groups, leaf = key.name.split(".")
    place = nested
    for group in groups:
      place = place.setdefault(group, {})
    place[leaf] = key.default
  return ml_collections.ConfigDict(nested)


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """Returns dotted name -> value of a nested config."""
  found: dict[str, Any] = {}
  for name, value in config.items():
    nested = isinstance(value, Mapping | ml_collections.ConfigDict)
    found |= flat(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
  return found


def check(config: Mapping[str, Any], *tables: Iterable[Key]) -> None:
  """Checks every key of a config against the tables.

  Raises:
    ValueError: a value that breaks its rule, a key that no table has (the nearest is named), or one that
      is missing. The message names the key as the command line does: `config.<name>`.
  """
  keys = {key.name: key for table in tables for key in table}
  values = flat(config)
  for name in sorted(values.keys() - keys.keys()):
    near = nearest(name, keys)
    raise ValueError(f"config has no key '{name}'" + (f": did you mean '{near}'?" if near else ""))
  for name, key in keys.items():
    if name not in values:
      raise ValueError(f"config.{name} is missing: it must be {key.allowed.text}")
    if key.rule.options:
      choose(f"config.{name}", values[name], key.rule.options)
    if isinstance(values[name], int) and abs(values[name]) > MOST:
      raise ValueError(f"config.{name} is {values[name]}: no number of a config may be beyond {MOST}")
    if not key.holds(values[name]):
      plain = isinstance(values[name], str) and isinstance(key.default, str) and values[name]
      shown = values[name] if plain else repr(values[name])
      raise ValueError(f"config.{name} is {shown}: it must be {key.allowed.text}")


def check_preset(
  config: Mapping[str, Any],
  name: str,
  presets: Mapping[str, Mapping[str, Any]],
  *,
  tuned: Sequence[str] = (),
) -> None:
  """Checks that a config is what a key of it says, where that key names a preset of others.

  A preset is what a config file sets for its argument. `--config.method=gs8` alone changes the name and none
  of the keys that it stands for: results under a wrong name.

  Args:
    config: checked by `check`.
    name: the key, e.g. "method".
    presets: its choices -> what each sets, by dotted key.
    tuned: keys among these that may be changed without another name, e.g. a strength.

  Raises:
    ValueError: a key of the named preset has another value, or another preset holds that says more.
  """
  # From config.json a tuple comes back as a list.
  found = {k: tuple(v) if isinstance(v, list) else v for k, v in flat(config).items()}
  chosen = config[name]
  presets = {one: {k: v for k, v in keys.items() if k not in tuned} for one, keys in presets.items()}

  def differs(preset: Mapping[str, Any]) -> list[str]:
    return [key for key, value in preset.items() if found[key] != value]

  remedy = f"give {{0}} as the config's argument, --config=FILE:{{0}}, which sets what config.{name} means"
  if wrong := differs(presets[chosen]):
    key = wrong[0]
    raise ValueError(
      f"config.{name} is {chosen}, which means config.{key}={presets[chosen][key]}, here {found[key]}: "
      + remedy.format(chosen)
    )
  own = presets[chosen].items()
  for other, preset in presets.items():
    if preset.keys() > presets[chosen].keys() and own <= preset.items() and not differs(preset):
      changed = next(key for key in preset if key not in presets[chosen])
      raise ValueError(
        f"config.{name} is {chosen}, but config.{changed}={found[changed]} makes it {other}: "
        + remedy.format(other)
      )


def explain(config: Mapping[str, Any], *tables: Sequence[Key]) -> str:
  """Returns a text table: each key with its value in this config, its default, what it may be, its meaning.

  Of a key in several tables the last one counts, as in `defaults` and `check`.
  """
  values = flat(config)
  keys = {key.name: key for table in tables for key in table}
  rows = [
    (name, repr(values.get(name, key.default)), repr(key.default), key.allowed.text, key.meaning)
    for name, key in keys.items()
  ]
  rows.insert(0, ("key", "value", "default", "allowed", "meaning"))
  widths = [max(len(row[i]) for row in rows) for i in range(4)]
  padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=False)] for row in rows)
  return "\n".join("  ".join([*cells, row[4]]) for cells, row in zip(padded, rows, strict=True))


def section(config: Mapping[str, Any], name: str) -> Any:
  """Returns the values of one group of keys as a NamedTuple: plain and hashable, lists as tuples.

  Examples:
    >>> found = section({"train": {"rate": 0.1, "sizes": [3, 4]}}, "train")
    >>> found.rate, found.sizes
    (0.1, (3, 4))
  """
  values = {key: tuple(x) if isinstance(x, list) else x for key, x in dict(config[name]).items()}
  return namedtuple(name, values)(**values)
