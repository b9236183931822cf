"""Every setting, read once at a process's edge and passed down frozen. No other module reads the environment.

Names are the studios' own, upper-case in the environment or in `.env`; each one stands in the README's table (tested).
"""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from models.loras import LORAS
from models.profiles import PROFILES, parse_sources
from posegen import crash_points
from posegen.private_redis import remembered_url

_LEAST_KEPT = "7d"  # the statistics speak of the last week
_DATABASES = ("sqlite", "postgresql+psycopg", "postgresql", "postgres")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds_of(duration: str) -> int:
    """Read `7d`, `12h`, `30m`, `45s` or a bare number of seconds. Raises ValueError for anything else."""
    match = re.fullmatch(r"\s*(\d+)\s*([smhd]?)\s*", duration)
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{duration!r} is not a duration; write 7d, 12h, 30m or 45s")
    return int(match[1]) * _UNITS_S[match[2] or "s"]


class Settings(BaseSettings):
    """The frozen settings of one process. Construct it once; a missing JWT_SECRET is refused with pydantic's error."""

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True, hide_input_in_errors=True
    )

    jwt_secret: SecretStr = Field(min_length=32, description="Signs logins (HS256); shared with a studio's own backend")
    jwt_expires_in: str = Field("7d", description="How long a login lasts")
    var_dir: Path = Field(Path("var"), description="Where the embedded database, pictures, models and logs live")
    database_url: str = Field("", repr=False, description="SQLAlchemy URL; empty: SQLite under VAR_DIR")
    redis_url: SecretStr = Field(SecretStr(""), description="Redis to use; wins over REDIS_HOST")
    redis_host: str = Field("", description="Redis host, if there is no REDIS_URL")
    redis_port: int = Field(6379, ge=1, le=65535, description="Redis port, beside REDIS_HOST")
    redis_password: SecretStr = Field(SecretStr(""), description="Redis password, beside REDIS_HOST")
    host: str = Field("0.0.0.0", description="Address the API listens on")  # noqa: S104 - a service for other machines
    port: int = Field(4000, ge=1, le=65535, description="Port the API listens on")
    public_base_url: str = Field("", description="Prefix of picture URLs when the frontend has another origin")
    cors_origin: Annotated[tuple[str, ...], NoDecode] = Field(
        ("http://localhost:5173",), description="Comma list of allowed origins; https://*.example.com is understood"
    )
    profile: str = Field("", description="Model profile orders are made for; empty: what the workers report")
    model_sources: str = Field("", description="Where weights come from instead, and at which commit they are pinned")
    hf_token: SecretStr = Field(SecretStr(""), description="Token of a Hugging Face account, for gated weights")
    huggingface_api_key: SecretStr = Field(SecretStr(""), description="The same, by its older name")
    hf_endpoint_url: str = Field("", description="A dedicated Hugging Face endpoint that draws where there is no card")
    hf_endpoint_token: SecretStr = Field(SecretStr(""), description="Its token; empty: the account's")
    hf_serverless_url: str = Field("", description="Serverless text-to-image; empty: Hugging Face's FLUX.1-dev")
    hosted_without_pose: Literal["", "allow"] = Field("", description="allow: auto may choose what follows no pose")
    worker_concurrency: int = Field(5, ge=1, le=64, description="Calls that a hosted worker has on their way at once")
    loras_dir: Path | None = Field(None, description="Where LoRAs lie, as .safetensors; empty: under VAR_DIR/models")
    detector_dir: Path | None = Field(None, description="Where weights of pose detectors lie; empty: under VAR_DIR")
    precision: Literal["", "bf16", "fp8", "int8", "nf4"] = Field("", description="Weights; empty: lossless, as bf16")
    previews: bool = Field(True, description="Show pictures while they are drawn; off: no process makes or sends any")
    pose_scores: Literal["auto", "on", "off"] = Field("auto", description="Whether pictures are judged by their pose")
    redraw_below: float = Field(0.0, ge=0, le=1, description="Pose score under which a picture is drawn once more")
    cache: Literal["off", "safe", "fast"] = Field("off", description="Steps that workers extrapolate; not exact")
    compile: Literal["auto", "on", "off"] = Field("auto", description="Whether workers compile the networks' blocks")
    attention: Literal["auto", "native", "cudnn", "flash", "flash3"] = Field(
        "auto", description="The code that workers compute attention with"
    )
    url_expires_in: str = Field("24h", description="How long a picture's signed URL works, at least")
    lease_s: int = Field(20, ge=2, le=600, description="Seconds after which a silent worker's pictures are taken back")
    recover_every_s: float = Field(3.0, gt=0, le=60, description="Seconds between two rounds of the reconciler")
    keep_generations: str = Field("forever", description="How long finished generations are kept: forever, or 90d")
    auth_auto_provision: bool = Field(False, description="Create the users of tokens that a studio's backend signed")
    login_rate: str = Field("5/15minute", description="Logins per address and e-mail")
    register_rate: str = Field("3/hour", description="Registrations per address")
    generate_rate: str = Field("5/minute", description="Orders per user")
    generate_pictures_rate: str = Field("600/minute", description="Pictures per user, over all orders")
    profile_rate: str = Field("10/hour", description="Profile changes per user")
    upload_rate: str = Field("10/minute", description="Uploaded photos per user")
    crash_at: str = Field("", description="For tests of crashes: where this process kills itself")
    metrics_token: SecretStr = Field(SecretStr(""), description="Who sends it may read /metrics; none: this machine")
    metrics_port: int = Field(0, ge=0, le=65535, description="Where workers tell Prometheus of themselves; 0: nowhere")
    metrics_host: str = Field("127.0.0.1", description="Address of that port")
    log_format: Literal["auto", "json", "console"] = Field("auto", description="json, console, or auto by terminal")

    @field_validator("cors_origin", mode="before")
    @classmethod
    def _split_origins(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("jwt_expires_in", "url_expires_in")
    @classmethod
    def _is_duration(cls, value: str) -> str:
        seconds_of(value)
        return value

    @field_validator("database_url")
    @classmethod
    def _is_known_database(cls, value: str) -> str:
        if value and value.partition("://")[0] not in _DATABASES:  # not the value itself in the message: it is a secret
            raise ValueError("write sqlite:////folder/file.db or postgresql+psycopg://user:password@host/database")
        return value

    @field_validator("keep_generations")
    @classmethod
    def _is_long_enough(cls, value: str) -> str:
        if value != "forever" and seconds_of(value) < seconds_of(_LEAST_KEPT):
            raise ValueError(f"generations are kept at least {_LEAST_KEPT}; write a longer time, or forever")
        return value

    @field_validator("profile")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value and value not in PROFILES:
            raise ValueError(f"there is no profile {value!r}; choose one of {', '.join(PROFILES)}")
        return value

    @field_validator("model_sources")
    @classmethod
    def _are_sources(cls, value: str) -> str:
        parse_sources(value)
        return value

    @field_validator("crash_at")
    @classmethod
    def _is_a_crash_point(cls, value: str) -> str:
        crash_points.wish_of(value)
        return value

    @field_validator("hf_endpoint_url", "hf_serverless_url")
    @classmethod
    def _keeps_the_token(cls, value: str) -> str:
        """Refuse an address that a token would travel to in the clear, or that holds a secret itself."""
        if not value:
            return value
        try:
            parts = urlsplit(value)
            is_here = parts.hostname in ("localhost", "127.0.0.1", "::1")
            is_safe = bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and is_here))
        except ValueError:
            is_safe = False
        if not is_safe:
            raise ValueError("write https://..., as it stands on the endpoint's page")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("write the address alone; the token is HF_ENDPOINT_TOKEN")
        return value

    @field_validator("public_base_url")
    @classmethod
    def _without_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @property
    def jwt_life_s(self) -> int:
        """How long a login lasts, in seconds."""
        return seconds_of(self.jwt_expires_in)

    @property
    def url_life_s(self) -> int:
        """How long a picture's URL works at least, in seconds."""
        return seconds_of(self.url_expires_in)

    @property
    def kept_for(self) -> timedelta | None:
        """How long finished generations are kept; None: for ever."""
        forever = self.keep_generations == "forever"
        return None if forever else timedelta(seconds=seconds_of(self.keep_generations))

    @property
    def sql_url(self) -> str:
        """The database to use: DATABASE_URL, or the embedded SQLite file."""
        return self.database_url or f"sqlite:///{(self.var_dir / 'posegen.db').absolute()}"

    @property
    def bell_url(self) -> str:
        """The Redis to use, as a URL. Without any setting: the private one of scripts/start, else localhost."""
        if self.redis_url.get_secret_value():
            return self.redis_url.get_secret_value()
        private = None if self.redis_host else remembered_url(self.private_redis_dir)
        if private is not None:
            return private
        password = quote(self.redis_password.get_secret_value(), safe="")
        return f"redis://{':' + password + '@' if password else ''}{self.redis_host or '127.0.0.1'}:{self.redis_port}/0"

    @property
    def models_dir(self) -> Path:
        """Where weights are kept and looked for, a folder for each profile."""
        return self.var_dir / "models"

    @property
    def loras_folder(self) -> Path:
        """Where LoRAs are looked for: LORAS_DIR, or the folder beside the weights."""
        return self.loras_dir or self.models_dir / LORAS

    @property
    def hub_token(self) -> str | None:
        """The token for the Hugging Face hub; None: whatever `hf auth login` left."""
        return self.hf_token.get_secret_value() or self.huggingface_api_key.get_secret_value() or None

    @property
    def endpoint_token(self) -> str | None:
        """The token for HF_ENDPOINT_URL: its own, else the account's."""
        return self.hf_endpoint_token.get_secret_value() or self.hub_token

    @property
    def may_be_hosted(self) -> bool:
        """Whether a worker without a card draws at an endpoint by itself."""
        without_pose = self.serverless_token is not None and self.hosted_without_pose == "allow"
        return bool(self.hf_endpoint_url) or without_pose

    @property
    def serverless_token(self) -> str | None:
        """The token for the serverless service. Only this name asks for it: HF_TOKEN alone is for weights."""
        return self.huggingface_api_key.get_secret_value() or None

    @property
    def detectors_dir(self) -> Path:
        """Where weights of pose detectors are looked for: DETECTOR_DIR, or the folder under VAR_DIR."""
        return self.detector_dir or self.var_dir / "detectors"

    @property
    def private_redis_dir(self) -> Path:
        """Where scripts/start keeps the private Redis and remembers its port."""
        return self.var_dir / "redis"

    @property
    def storage_dir(self) -> Path:
        """Where the local picture store keeps its files."""
        return self.var_dir / "storage"
