"""What is wrong with a field, in words of our own: a customer reads them beside the field, so they say what to send.

Pydantic's sentences speak of inputs, strings and validation, and some of them hold Python's own notation. Sentences
that our shapes raise themselves (PydanticCustomError) pass as they are.
"""

from collections.abc import Mapping
from typing import Any

from pydantic.alias_generators import to_camel

from posegen.errors import FieldProblem

MISSING = "This is missing."
NO_OBJECT = "Send a JSON object, with Content-Type: application/json."
_SENTENCES = {
    "missing": MISSING,
    "string_type": "Send text.",
    "string_unicode": "Send text in UTF-8.",
    "int_type": "Send a whole number.",
    "int_parsing": "Send a whole number.",
    "int_from_float": "Send a whole number.",
    "int_parsing_size": "This number is too large.",
    "float_type": "Send a number.",
    "float_parsing": "Send a number.",
    "finite_number": "Send a finite number.",
    "bool_type": "Send true or false.",
    "bool_parsing": "Send true or false.",
    "list_type": "Send a list.",
    "dict_type": "Send a JSON object.",
    "model_type": "Send a JSON object.",
    "model_attributes_type": "Send a JSON object.",
}
_LIMITS = {
    "greater_than_equal": ("ge", "The least is {}."),
    "greater_than": ("gt", "Send more than {}."),
    "less_than_equal": ("le", "The most is {}."),
    "less_than": ("lt", "Send less than {}."),
    "string_too_short": ("min_length", "Write at least {}."),
    "string_too_long": ("max_length", "Write at most {}."),
}


def field_problem_of(error: Mapping[str, Any]) -> FieldProblem:
    """Describe one of pydantic's errors; the field is named as the client sent it: `selectedPoseIds[2]`, `body`."""
    where, *path = error["loc"]
    if error["type"] == "json_invalid":
        return FieldProblem(field="body", message=f"This is not JSON ({error['ctx']['error']} at character {path[0]}).")
    if not path:
        return FieldProblem(field=str(where), message=NO_OBJECT)
    first = str(path[0]).title() if where == "header" else to_camel(str(path[0]))
    field = first + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path[1:])
    return FieldProblem(field=field, message=_sentence(error))


def _sentence(error: Mapping[str, Any]) -> str:
    kind, facts = error["type"], error.get("ctx", {})
    if kind in _SENTENCES:
        return _SENTENCES[kind]
    if kind in _LIMITS:
        fact, sentence = _LIMITS[kind]
        return sentence.format(_characters(facts[fact]) if kind.startswith("string_") else str(facts[fact]))
    if kind in ("literal_error", "enum"):
        return f"Choose {str(facts['expected']).replace(chr(39), '')}."
    if kind in ("too_short", "too_long"):
        return _of_length(kind, facts, is_text=isinstance(error.get("input"), str))
    if kind == "value_error" and "UploadFile" in error["msg"]:
        return "Send a file."
    return f"{error['msg']}."


def _of_length(kind: str, facts: Mapping[str, Any], *, is_text: bool) -> str:
    least = kind == "too_short"
    length = facts["min_length" if least else "max_length"]
    how = "at least" if least else "at most"
    return f"Write {how} {_characters(length)}." if is_text else f"Send {how} {length}."


def _characters(count: int) -> str:
    return "1 character" if count == 1 else f"{count} characters"
