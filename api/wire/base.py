"""What all shapes share: how they spell fields and write times, and what they refuse in texts and numbers."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from posegen.paging import Page, Paged


class Told(BaseModel):
    """An answer. Fields are sent in camelCase, all of them always."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        json_schema_serialization_defaults_required=True,
    )


class Asked(BaseModel):
    """A body of a request. Unknown fields are ignored, since clients send extras; an explicit null means left out."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="ignore")


def iso(moment: datetime) -> str:
    """Return the moment as ISO 8601 in UTC, with milliseconds and `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


Moment = Annotated[
    datetime,
    PlainSerializer(iso, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
"""A time of an answer."""


def one_of(words: Iterable[str]) -> WithJsonSchema:
    """Describe a text of an answer that is always one of these words."""
    return WithJsonSchema({"type": "string", "enum": [str(word) for word in words]})


def storable(text: str) -> str:
    """Pass a text that a database can keep: PostgreSQL keeps no NUL, and nothing keeps half a surrogate pair."""
    if "\0" in text:
        raise PydanticCustomError("nul", "Text may not hold a NUL character")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise PydanticCustomError("surrogate", "This text holds half a character; write it anew")
    return text


Text = Annotated[str, AfterValidator(storable)]
"""A text that a database can keep."""
Identifier = Annotated[str, Field(max_length=64), AfterValidator(storable)]
"""An id of something of ours."""
Whole = Annotated[int, Field(strict=True)]
"""A whole number; true and "4" are none."""
Real = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A finite number; true and "4" are none."""
Switch = Annotated[bool, Field(strict=True)]
"""True or false, spelt so."""


class Pagination(Told):
    """Where a page stands in its list."""

    page: int
    limit: int
    total: int
    total_pages: int
    has_more: bool

    @classmethod
    def of(cls, paged: Paged[Any]) -> "Pagination":
        """Describe a page."""
        page: Page = paged.page
        return cls(
            page=page.number,
            limit=page.limit,
            total=paged.total,
            total_pages=paged.total_pages,
            has_more=page.number < paged.total_pages,
        )
