"""Wildcards and policy variables: the texts of a policy against what a request names.

The bottom of the evaluator: `conditions` and `policy` compare with it.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
"""

import re
from collections.abc import Mapping
from functools import cache, lru_cache

Context = Mapping[str, tuple[str, ...]]

# A * or ? that a variable brought in means itself; these private code points carry it past the wildcards.
_ESCAPED = str.maketrans("*?", "\ue000\ue001")
_PLAIN = str.maketrans("\ue000\ue001", "*?")
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_NAME = re.compile(r"([^,']+?)\s*(?:,\s*'([^']*)')?")


def normal(context: Context) -> dict[str, tuple[str, ...]]:
    """The context by lower-cased key: condition keys are case-insensitive."""
    return {key.lower(): values for key, values in context.items()}


def plain(text: str) -> str:
    """A text without wildcards, as it compares with a request's value."""
    return text.translate(_PLAIN)


def _regex(text: str, star: str = ".*", mark: str = ".") -> str:
    """A wildcard pattern as a regular expression; `star` and `mark` say what * and ? may run over."""
    special = {"*": star, "?": mark, "\ue000": r"\*", "\ue001": r"\?"}
    return "".join(special.get(char) or re.escape(char) for char in text)


@lru_cache(maxsize=8192)
def glob(text: str) -> re.Pattern[str]:
    return re.compile(_regex(text), re.DOTALL)


@lru_cache(maxsize=8192)
def arn(text: str) -> re.Pattern[str]:
    """For ARN operators: the six colon-delimited components are checked separately, so a * stays within its own."""
    *head, last = text.split(":", 5)
    return re.compile(":".join([*(_regex(part, "[^:]*", "[^:]") for part in head), _regex(last)]), re.DOTALL)


@lru_cache(maxsize=8192)
def resource(text: str) -> re.Pattern[str]:
    """For Resource: a * at the end of an ARN's segment, and anything in the resource part, runs across colons; elsewhere it stays inside.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
    """
    *head, last = text.split(":", 5)
    parts = [_regex(part.removesuffix("*"), "[^:]*", "[^:]") + ".*" * part.endswith("*") for part in head]
    return re.compile(":".join([*parts, _regex(last)]), re.DOTALL)


def variables(text: str) -> list[tuple[str, str | None]]:
    """Every `${key}` or `${key, 'default'}` in a policy's text, but not the literals ${*}, ${?} and ${$}; ValueError if malformed."""
    return [_variable(name) for name in _VARIABLE.findall(text) if name not in ("*", "?", "$")]


@cache
def _variable(inside: str) -> tuple[str, str | None]:
    found = _NAME.fullmatch(inside.strip())
    if not found:
        raise ValueError(f"policy variable ${{{inside}}} is malformed")
    return found[1].lower(), found[2]


def anything(text: str) -> str:
    """`text` with a * for each policy variable: what it may mean for some request."""
    return _VARIABLE.sub(lambda found: found[0] if found[1] in ("*", "?", "$") else "*", text)


def substitute(text: str, context: Context) -> str | None:
    """`text` with its policy variables replaced, or None where one has neither value nor default. `context` is normal.

    A key with several values is no variable: only single-valued keys are.
    """
    if "${" not in text:
        return text
    values = {inside: _value(inside, context) for inside in _VARIABLE.findall(text)}
    if None in values.values():
        return None
    return _VARIABLE.sub(lambda found: values[found[1]] or "", text)


def _value(inside: str, context: Context) -> str | None:
    if inside in ("*", "?", "$"):
        return inside.translate(_ESCAPED)
    key, default = _variable(inside)
    held = context.get(key, ())
    value = held[0] if len(held) == 1 else default
    return None if value is None else value.translate(_ESCAPED)
