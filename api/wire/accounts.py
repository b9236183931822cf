"""People and their credits on the wire."""

from typing import Annotated

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from api.wire.base import Asked, Moment, Text, Told, one_of
from posegen.accounts import LEAST_PASSWORD_LENGTH
from posegen.statuses import EntryType
from posegen.tables import LedgerEntry, User

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


class ProfileBody(Asked):
    """Changes of one's own profile; what is left out stays."""

    name: Annotated[Text, Field(max_length=200)] | None = None
    email: Annotated[Text, Field(max_length=320), AfterValidator(_address)] | None = None
    current_password: Annotated[Text, Field(max_length=LONGEST_PASSWORD)] | None = None
    new_password: Annotated[Text, Field(min_length=LEAST_PASSWORD_LENGTH, max_length=LONGEST_PASSWORD)] | None = None


class UserTold(Told):
    """A user as they see themselves."""

    id: str
    email: str
    name: str | None
    role: str
    credit_balance: int
    created_at: Moment

    @classmethod
    def of(cls, user: User) -> "UserTold":
        """Describe a user."""
        return cls(
            id=user.id,
            email=user.email,
            name=user.name,
            role=user.role,
            credit_balance=user.credit_balance,
            created_at=user.created_at,
        )


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

    @classmethod
    def of(cls, login: UserAndToken) -> "ProfileTold":
        """Describe a profile."""
        return cls(data=login, user=login.user, token=login.token)


class Balance(Told):
    """Credits left."""

    balance: int


class BalanceTold(Told):
    """The answer to a question for the balance."""

    success: bool = True
    data: Balance


class EntryTold(Told):
    """One change of a balance; an order's amount is negative."""

    id: str
    amount: int
    type: Annotated[str, one_of(EntryType)]
    description: str
    reference_id: str
    created_at: Moment

    @classmethod
    def of(cls, entry: LedgerEntry) -> "EntryTold":
        """Describe an entry."""
        return cls(
            id=entry.id,
            amount=entry.amount_credits,
            type=entry.type,
            description=entry.description,
            reference_id=entry.reference,
            created_at=entry.created_at,
        )
