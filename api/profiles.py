"""Changing one's own profile: the rate, the proof by the current password, and then one short writing transaction.

Hashing takes tens of milliseconds on purpose, so it happens before that transaction, never in it.
"""

from api.access import Caller
from api.service import Service
from api.wire.accounts import ProfileBody
from posegen import accounts
from posegen.accounts import ProfileChanges
from posegen.database import database_now
from posegen.tables import User


def change_profile(service: Service, caller: Caller, body: ProfileBody) -> User:
    """Change what the body names. Raises what the domain raises, and TooManyRequests."""
    service.rates.count_profile_change(caller.id)
    with service.database.reading() as session:
        proven = accounts.prove(
            session,
            caller.id,
            password=body.current_password,
            email=body.email,
            new_password=body.new_password is not None,
        )
    changes = ProfileChanges(
        name=body.name,
        email=body.email,
        password=None if body.new_password is None else accounts.hash_password(body.new_password, field="newPassword"),
        proven=proven,
    )
    with service.database.writing() as session:
        return accounts.change_profile(session, caller.id, changes, now=database_now(session))
