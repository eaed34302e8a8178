"""Whether a value is of the kind that a key of a config wants: text, a number, a list."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    tuple: "a list",
    dict: "a part (a dict)",
}
# Words of annotations that stand for more than the class of that name.
_WORDS = {
    "Sequence": ("a list",),
    "Iterable": ("a list",),
    "Collection": ("a list",),
    "Mapping": ("a part (a dict)",),
    "ConfigDict": ("a part (a dict)",),
    "ConfigType": ("a part (a dict)",),
    "OptConfigType": ("a part (a dict)",),
    "Path": ("text",),
    "Any": (None,),
    **{cls.__name__: (kind,) for cls, kind in _KINDS.items()},
}


def wrong_kind(value: Any, current: Any, owner: type | None, name: str) -> str | None:
    """Say which kinds a key wants, where a value is of none of them.

    Known are the kind of the value that it has, and those that the owner's parameter is annotated
    with or has as default. Where nothing is known, and for None, every value is right.

    Args:
        value: What is to be set.
        current: What the config has there, None for nothing.
        owner: The class that takes it as an argument, None where that is not known.
        name: Of the argument.

    Returns:
        Such as "a whole number or text"; None where the value may be right.
    """
    wanted = [] if current is None else [_kind(current)]
    wanted += _kinds_of_parameter(owner, name) if owner is not None else []
    if value is None or not wanted or None in wanted:
        return None
    # A whole number is a number; where parts may be several, one may stand alone.
    fits = {_kind(value), *(["a number"] if type(value) is int else [])}
    several = {"a list", "a part (a dict)"}
    if fits & set(wanted) or (fits <= several and current is not None and set(wanted) & several):
        return None
    return " or ".join(dict.fromkeys(wanted))


def _kind(value: Any) -> str | None:
    return next((kind for cls, kind in _KINDS.items() if isinstance(value, cls)), None)


def _kinds_of_parameter(owner: type, name: str) -> list[str | None]:
    for cls in _constructors(owner):
        parameter = inspect.signature(cls.__init__).parameters.get(name)
        if parameter is None:
            continue
        if parameter.annotation is not parameter.empty:
            return _kinds_of_annotation(parameter.annotation)
        known = parameter.default not in (parameter.empty, None)
        return [_kind(parameter.default) if known else None]
    return [None]


def _constructors(owner: type) -> Iterator[type]:
    return (cls for cls in inspect.getmro(owner)[:-1] if "__init__" in vars(cls))


def _kinds_of_annotation(annotation: Any) -> list[str | None]:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"\b(typing\.)?(Optional|Union)\[", "(", text)
    while (shorter := re.sub(r"\[[^\[\]]*\]", "", text)) != text:  # what a list holds
        text = shorter
    words = [_WORDS.get(word, _WORDS.get(word.lower(), ())) for word in re.findall(r"\w+", text)]
    return [kind for kinds in words for kind in kinds] or [None]
