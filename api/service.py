"""What the routes work with: one process's database, bell, picture store, links, logins and rates, opened once."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.rates import Rates
from api.tokens import Tokens
from posegen.announcing import Announcer
from posegen.bell import Bell
from posegen.database import Database
from posegen.settings import Settings
from posegen.storage import Links, Storage
from posegen.uploads import PhotoLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The parts of one API process."""

    settings: Settings
    database: Database
    bell: Bell
    announcer: Announcer
    storage: Storage
    links: Links
    tokens: Tokens
    rates: Rates
    photo_line: PhotoLine

    def close(self) -> None:
        """Give every connection back."""
        self.bell.close()
        self.database.close()


def open_service(settings: Settings) -> Service:
    """Make the parts. Nothing is connected yet: database and Redis may be away."""
    database = Database(settings.sql_url)
    bell = Bell(settings.bell_url)
    links = Links(settings.jwt_secret.get_secret_value(), life_s=settings.url_life_s, base_url=settings.public_base_url)
    return Service(
        settings=settings,
        database=database,
        bell=bell,
        announcer=Announcer(database, bell, links),
        storage=Storage(settings.storage_dir),
        links=links,
        tokens=Tokens(settings),
        rates=Rates(settings, bell),
        photo_line=PhotoLine(),
    )


async def service_of(request: Request) -> Service:
    """Return the parts that this app was made with."""
    service: Service = request.app.state.service
    return service


Parts = Annotated[Service, Depends(service_of)]
"""A route's way to the parts."""
