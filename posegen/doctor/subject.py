"""Whom the doctor looks at: the settings as far as they can be read, this process's surroundings, what was asked for.

Settings that are missing or wrong do not end the examination: they are findings themselves, and their defaults stand in
for them, so that the rest is seen in the same run.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models.mannequin import built_in_profile
from models.profiles import FLUX1_DEV, Profile, parse_sources, profile, sourced
from posegen.cards import Card, visible_cards
from posegen.settings import Settings

AUTO, CPU, HOSTED = "auto", "cpu", "hosted"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingProblem:
    """A setting that cannot be used, and why, without its value: it may be a secret."""

    name: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What every check gets. folder: where the command runs, and so where `.env` is looked for."""

    settings: Settings
    problems: tuple[SettingProblem, ...]
    environment: Mapping[str, str]
    folder: Path
    device: str = AUTO

    @property
    def has_own_secret(self) -> bool:
        """Whether JWT_SECRET is the operator's, not one that stands in."""
        return not any(problem.name == "JWT_SECRET" for problem in self.problems)

    @property
    def cards(self) -> list[Card]:
        """The cards that workers would be started on; none on a CPU."""
        if self.device != AUTO and not self.device.startswith("cuda"):
            return []
        seen = visible_cards(self.environment)
        wanted = "cuda:0" if self.device == "cuda" else self.device
        return seen if wanted == AUTO else [card for card in seen if card.device == wanted]

    @property
    def is_hosted(self) -> bool:
        """Whether workers here draw at an endpoint: asked for, or set where there is no card."""
        return self.device == HOSTED or (self.device == AUTO and self.settings.may_be_hosted and not self.cards)

    @property
    def drawn_profile(self) -> Profile:
        """The profile that workers here are for: PROFILE; else FLUX on a card or an endpoint; else a built-in one."""
        if self.settings.profile:
            known = profile(self.settings.profile)
        else:
            wants_flux = self.cards or self.device.startswith("cuda") or self.is_hosted
            known = FLUX1_DEV if wants_flux else built_in_profile()
        return sourced(known, parse_sources(self.settings.model_sources))


def subject_here(*, device: str, environment: Mapping[str, str]) -> Subject:
    """Read the settings of the environment and of `.env` as far as they can be used."""
    settings, problems = _read_settings()
    return Subject(settings=settings, problems=problems, environment=environment, folder=Path.cwd(), device=device)


def _read_settings() -> tuple[Settings, tuple[SettingProblem, ...]]:
    try:
        return Settings(), ()
    except ValidationError as error:
        told = error.errors()
    problems = [
        SettingProblem(name=".".join(str(part) for part in problem["loc"]).upper(), message=problem["msg"])
        for problem in told
    ]
    names = {str(problem["loc"][0]).lower() for problem in told if problem["loc"]}
    try:
        return Settings(**_stand_ins(names)), tuple(problems)
    except ValidationError:  # settings that are wrong together: then none of them is used
        return Settings(**_stand_ins(set(Settings.model_fields))), tuple(problems)


def _stand_ins(names: set[str]) -> dict[str, Any]:
    defaults = {name: Settings.model_fields[name].get_default() for name in names}
    return defaults | {"jwt_secret": secrets.token_urlsafe(48)} if "jwt_secret" in names else defaults
