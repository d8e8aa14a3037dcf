"""Tables of config keys: what a broken rule is answered with."""

import contextlib

import ml_collections
import pytest

from vita_jax.base import keys

TABLE = (
  keys.Key("epochs", 200, keys.between(1, 2**31 - 2), "Passes."),
  keys.Key("rate", 0.1, keys.above(0), "Learning rate."),
  keys.Key("data.name", "", keys.text("a name, or empty"), "A data set."),
  keys.Key("widths", (8,), keys.each("numbers above 0", keys.above(0).holds, least=1), "Widths."),
  keys.Key("weight", 0.5, keys.at_least(0.0), "Weight."),
)


@pytest.mark.parametrize(
  ("rule", "text"),
  [
    (keys.at_least(0), "a finite number, at least 0"),
    (keys.at_least(2**31 - 2), "a finite number, at least 2147483646"),
    (keys.above(0.25), "a finite number, above 0.25"),
    (keys.between(0.0, 1.0), "a finite number, from 0 to 1"),
    (keys.between(1, 2**31 - 2), "a finite number, from 1 to 2147483646"),
    (keys.between(0.0, 0.123456789), "a finite number, from 0 to 0.123456789"),
    (keys.half_open(0, 1), "a finite number, from 0 on and below 1"),
    (keys.one_of("", "a", "b"), "one of a, b, or '' (empty)"),
  ],
)
def test_a_rule_says_exactly_what_a_value_must_be(rule, text):
  assert rule.text == text


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -1.0, True, "1"])
def test_what_is_no_finite_number_is_refused_as_such(value):
  config = keys.flat(keys.defaults(TABLE)) | {"weight": value}
  with pytest.raises(ValueError, match=r"config.weight is .*: it must be a finite number, at least 0$"):
    keys.check(config, TABLE)


@pytest.mark.parametrize(
  ("name", "value", "must"),
  [
    ("epochs", 2.5, "a whole number, from 1 to 2147483646"),
    ("epochs", True, "a whole number, from 1"),
    ("rate", "fast", "a finite number, above 0"),
    ("data.name", 3, "a name, or empty"),
    ("widths", 8, "numbers above 0"),
    ("widths", "8", "numbers above 0"),
    ("widths", ("8",), "numbers above 0"),
    ("widths", (), "numbers above 0"),
  ],
)
def test_a_value_of_another_type_is_refused_by_name(name, value, must):
  values = keys.flat(keys.defaults(TABLE)) | {name: value}
  with pytest.raises(ValueError, match=rf"^config.{name} is .*: it must be {must}"):
    keys.check(values, TABLE)


def test_a_rule_that_cannot_be_asked_of_a_value_does_not_hold():
  table = (keys.Key("pace", (0.5,), keys.Rule("above 0", lambda pace: min(pace) > 0), "Paces."),)
  for value in (None, 3, ("a",), ({},)):
    with pytest.raises(ValueError, match="config.pace is .*: it must be above 0"):
      keys.check({"pace": value}, table)


def test_explain_prints_large_integers_whole():
  assert "from 1 to 2147483646" in keys.explain(keys.defaults(TABLE), TABLE)


def test_a_missing_key_is_told_its_rule():
  values = keys.flat(keys.defaults(TABLE))
  for name, end in (("rate", "a finite number, above 0"), ("data.name", "a name, or empty")):
    with pytest.raises(ValueError) as error:
      keys.check({k: v for k, v in values.items() if k != name}, TABLE)
    assert str(error.value) == f"config.{name} is missing: it must be {end}"


def test_of_several_unknown_keys_the_first_by_name_is_named():
  unknown = [f"x{i}" for i in range(20)]
  for names in (unknown, unknown[::-1]):
    with pytest.raises(ValueError, match="config has no key 'x0'"):
      keys.check({**keys.defaults(TABLE), **dict.fromkeys(names, 1)}, TABLE)


PRESETS = {"whole": {}, "pruned": {"prune": True}, "both": {"prune": True, "bits": (8, 4)}}


@pytest.mark.parametrize(
  ("values", "said"),
  [
    ({"method": "both"}, "config.method is both, which means config.prune=True, here False: give both as"),
    ({"method": "whole", "prune": True}, "config.method is whole, but config.prune=True makes it pruned"),
    ({"method": "pruned", "prune": True, "bits": (8, 4)}, r"but config.bits=\(8, 4\) makes it both"),
    ({"method": "pruned", "prune": True, "bits": (2,)}, ""),
    ({"method": "whole"}, ""),
  ],
)
def test_a_name_of_a_preset_without_its_keys_is_refused(values, said):
  config = ml_collections.ConfigDict({"method": "whole", "prune": False, "bits": (), **values})
  with pytest.raises(ValueError, match=said) if said else contextlib.nullcontext():
    keys.check_preset(config, "method", PRESETS)
