"""Settings that cannot be used, and secrets that can be guessed."""

import math
import re
from collections import Counter
from collections.abc import Iterator

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from posegen.doctor.findings import Finding, Told
from posegen.doctor.subject import Subject
from posegen.ports import is_this_machine

LEAST_BITS = 128.0
"""A secret with less than this, by the frequency of its characters, is told."""
_LEAST_CHARACTERS = 10
"""Different ones: 32 hex digits of a random secret have more."""
_EXAMPLES = re.compile(
    r"change.?(me|this|it)|your.|example|placeholder|replace|supersecret|jwt.?secret|s3cr3t|<.*>", re.I
)
"""What stands in documentation and is copied from there."""
_WORDS = re.compile(r"[A-Za-z]+([ _.,-][A-Za-z]+)*[.!?]?")
_KNOWN_PASSWORDS = frozenset({"", "admin", "changeme", "password", "posegen", "postgres", "redis", "root", "secret"})
_MAKE_ONE = "python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"


def check_settings(subject: Subject, told: Told) -> Iterator[Finding]:
    """Tell each setting that cannot be used, and whether `.env` is for our eyes only."""
    env_file = subject.folder / ".env"
    here = f"in the environment or in {env_file}"
    for problem in subject.problems:
        remedy = f"Set it {here}."
        if problem.name == "JWT_SECRET":
            remedy = f"Set it {here}, the same on every box (./scripts/start writes one): {_MAKE_ONE}"
        yield told.fail(f"{problem.name}: {problem.message}", remedy)
    if not subject.problems:
        yield told.ok("all settings can be used")
    if env_file.exists() and env_file.stat().st_mode & 0o077:
        yield told.warn(f"{env_file} holds secrets and others may read it", f"chmod 600 {env_file}")


def check_secrets(subject: Subject, told: Told) -> Iterator[Finding]:
    """Tell secrets that can be guessed."""
    if subject.has_own_secret:
        yield _jwt_secret(subject.settings.jwt_secret.get_secret_value(), told)
    yield from _passwords(subject, told)


def guessable(secret: str) -> str | None:
    """Return why a secret can be guessed, in words; None when nothing speaks for it."""
    if _EXAMPLES.search(secret):
        return "it is, or begins as, an example from documentation"
    if len(set(secret)) < _LEAST_CHARACTERS:
        return f"it has only {len(set(secret))} different characters"
    if secret in (secret[: len(secret) // 2] * 2, secret[: len(secret) // 3] * 3):
        return "it repeats itself"
    return None


def entropy_bits(secret: str) -> float:
    """Estimate a secret's entropy from how often each character stands in it; an upper bound."""
    counts = Counter(secret).values()
    return -sum(count * math.log2(count / len(secret)) for count in counts)


def _jwt_secret(secret: str, told: Told) -> Finding:
    remedy = f"Set another one, the same on every box; everybody logs in anew: {_MAKE_ONE}"
    why = guessable(secret)
    if why is not None:
        return told.fail(f"JWT_SECRET can be guessed ({why}); who guesses it is anybody", remedy)
    if _WORDS.fullmatch(secret):
        return told.warn("JWT_SECRET is made of words, which are easier to guess than they look", remedy)
    bits = entropy_bits(secret)
    if bits < LEAST_BITS:
        return told.warn(f"JWT_SECRET holds at most {bits:.0f} bits; {LEAST_BITS:.0f} are wanted", remedy)
    return told.ok(f"JWT_SECRET has {len(secret)} characters")


def _passwords(subject: Subject, told: Told) -> Iterator[Finding]:
    """Look at the passwords of servers elsewhere: on this machine, who can ask is here already."""
    settings = subject.settings
    for name, url, change in (
        ("DATABASE_URL", settings.database_url, "ALTER ROLE ... PASSWORD ..."),
        ("REDIS_URL", settings.bell_url, "requirepass, or an ACL user, in redis.conf"),
    ):
        try:
            parts = make_url(url) if url else None
        except (ArgumentError, ValueError):
            continue  # told where it is used
        if parts is None or not parts.host or is_this_machine(parts.host):
            continue
        if str(parts.password or "") in _KNOWN_PASSWORDS:
            lacks = "no password" if not parts.password else "a password that everybody tries first"
            yield told.warn(f"{parts.host} is used with {lacks}", f"Set one ({change}), and write it into {name}.")
