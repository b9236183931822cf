"""People and their credits on the wire."""

from typing import Annotated

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from api.wire.base import Asked, Text, Told
from posegen.accounts import LEAST_PASSWORD_LENGTH
from posegen.tables import User

LONGEST_PASSWORD = 1024
# The library's own switch: nothing is mailed, so a studio's internal domain (studio.local) is as good as any.
SPECIAL_USE_DOMAIN_NAMES.clear()


def _address(text: str) -> str:
    """Accept an address as it is typed."""
    try:
        validate_email(text.strip(), check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError as error:
        raise PydanticCustomError("email", "This is not an e-mail address") from error
    return text.strip()


class RegisterBody(Asked):
    """A new account."""

    email: Annotated[Text, Field(max_length=320), AfterValidator(_address)]
    password: Annotated[Text, Field(min_length=LEAST_PASSWORD_LENGTH, max_length=LONGEST_PASSWORD)]
    name: Annotated[Text, Field(max_length=200)] | None = None


class LoginBody(Asked):
    """A login; whatever is wrong with it is told as one refusal."""

    email: Annotated[Text, Field(max_length=320)]
    password: Annotated[Text, Field(max_length=LONGEST_PASSWORD)]


class UserTold(Told):
    """A user as they see themselves."""

    id: str
    email: str
    name: str | None
    role: str
    credit_balance: int

    @classmethod
    def of(cls, user: User) -> "UserTold":
        """Describe a user."""
        return cls(id=user.id, email=user.email, name=user.name, role=user.role, credit_balance=user.credit_balance)


class UserAndToken(Told):
    """The inner part of a login's answer."""

    user: UserTold
    token: str


class LoginTold(Told):
    """The answer to a login or registration."""

    success: bool = True
    data: UserAndToken


class ProfileTold(LoginTold):
    """A profile: the same pair at the top level too, where old clients read it."""

    user: UserTold
    token: str


class Balance(Told):
    """Credits left."""

    balance: int


class BalanceTold(Told):
    """The answer to a question for the balance."""

    success: bool = True
    data: Balance
