"""What can go wrong while drawing, as one tree, so that a caller decides by class and never by reading a message.

ModelsError                 models_error        root of everything this package raises on purpose
├── RequestRefused          request_refused     the request is wrong; sending it again will not help
│   ├── EmptyPrompt         empty_prompt
│   ├── SizeRefused         size_refused
│   ├── ControlRefused      control_refused     the control picture has the wrong size or mode
│   ├── StepsRefused        steps_refused
│   ├── StrengthRefused     strength_refused    guidance, control_scale, control_end or seed out of range
│   ├── LorasRefused        loras_refused       too many LoRAs, or one of them twice
│   ├── LoraMissing         lora_missing        no LoRA of this name lies here
│   ├── LoraUnfit           lora_unfit          a LoRA that cannot be applied to these weights
│   ├── PoseRefused         pose_refused        this engine follows no pose, and the request wants one followed
│   ├── KeyInUse            key_in_use          a live sample already has this key
│   └── EngineClosed        engine_closed
├── UnknownProfile          unknown_profile
├── WeightsMissing          weights_missing     a profile's weights are not on this machine
│   └── WeightsIncomplete   weights_incomplete  a part of them is: a lost shard, a cut-off file, a broken download
├── WeightsUnfit            weights_unfit       the files are there and whole, but nothing here draws with them
│   ├── WrongKind           wrong_kind          weights of another model, or of another variant of it
│   ├── WrongShape          wrong_shape         a tensor is not as large as the configuration says
│   └── PickleRefused       pickle_refused      weights in a form that can run code when it is read
├── DownloadFailed          download_failed     `posegen models pull` got no further; what was fetched is kept
│   ├── TokenMissing        token_missing       the weights are given to accounts only, and there is no token
│   ├── TokenRefused        token_refused       the hub does not know the token
│   ├── LicenceNotAccepted  licence_not_accepted  the token's account did not accept the model's licence
│   ├── RepositoryUnknown   repository_unknown  the hub has no such repository, revision or file
│   ├── HubAway             hub_away            no connection, or one that broke off for good
│   ├── DownloadsOff        downloads_off       HF_HUB_OFFLINE is set
│   ├── DiskTooFull         disk_too_full
│   └── DamagedDownload     damaged_download    what arrived is not what the hub says it is
├── DeviceMissing           device_missing      the device asked for is not there
├── CardTooSmall            card_too_small      no way to place the networks fits the card; known before loading
├── LibraryMissing          library_missing     an optional library that this way of drawing needs
├── AttentionMissing        attention_missing   the attention asked for does not work on this device
├── OutOfMemory             out_of_memory       one picture alone does not fit the card
├── BadPicture              bad_picture         NaN or all black, also in higher precision
├── HostedFailed            hosted_failed       a hosted endpoint did not draw
│   ├── EndpointRefused     endpoint_refused    it does not draw this picture; asking again will not help
│   ├── EndpointBroke       endpoint_broke      it failed at this picture again and again, and is well otherwise
│   ├── EndpointLate        endpoint_late       it did not answer in time, twice
│   ├── EndpointAway        endpoint_away       it draws nothing now: away, waking, busy, unpaid or not for this token
│   └── EndpointSaid        endpoint_said       what its engine said of one picture; told with that engine's code
├── DetectorMissing         detector_missing    no detector of poses has its weights on this machine
├── DetectorFailed          detector_failed     a detector of poses cannot be loaded, or breaks on a photo
└── CardFailed              card_failed         the device is broken; the process should end
"""


class ModelsError(Exception):
    """Root of this package's errors. `code` is stable; `str()` is a sentence that tells a person what to do."""

    code = "models_error"


class RequestRefused(ModelsError):
    """The request cannot be drawn as it is. Nothing happened; the engine is untouched."""

    code = "request_refused"


class EmptyPrompt(RequestRefused):
    """A prompt of no words."""

    code = "empty_prompt"

    def __init__(self) -> None:
        super().__init__("The prompt is empty: say in words what to draw.")


class SizeRefused(RequestRefused):
    """A size the profile does not draw; diffusers would silently change it instead."""

    code = "size_refused"

    def __init__(self, width: int, height: int, sizes: tuple[tuple[int, int], ...]) -> None:
        self.width, self.height, self.sizes = width, height, sizes
        why = "is not divisible by 16" if width % 16 or height % 16 else "is not one this profile draws"
        known = ", ".join(f"{w}x{h}" for w, h in sizes)
        super().__init__(f"The size {width}x{height} {why}: choose one of {known}.")


class ControlRefused(RequestRefused):
    """A control picture that is not RGB of exactly the picture's size."""

    code = "control_refused"

    def __init__(self, size: tuple[int, int], mode: str, width: int, height: int) -> None:
        self.size, self.mode, self.width, self.height = size, mode, width, height
        super().__init__(
            f"The control picture is {size[0]}x{size[1]} {mode}: draw it as {width}x{height} RGB, the picture's size."
        )


class StepsRefused(RequestRefused):
    """A number of steps outside the profile's range."""

    code = "steps_refused"

    def __init__(self, steps: int, lowest: int, highest: int) -> None:
        self.steps, self.lowest, self.highest = steps, lowest, highest
        super().__init__(f"{steps} steps are outside {lowest}..{highest}: choose a number in that range.")


class StrengthRefused(RequestRefused):
    """A number (guidance, control_scale, control_end, seed) outside its range."""

    code = "strength_refused"

    def __init__(self, name: str, value: float, lowest: float, highest: float) -> None:
        self.name, self.value, self.lowest, self.highest = name, value, lowest, highest
        super().__init__(f"{name} is {value}, outside {lowest:g}..{highest:g}: choose a number in that range.")


class LorasRefused(RequestRefused):
    """A set of LoRAs that is not one: too many, or one of them twice."""

    code = "loras_refused"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"These LoRAs cannot be used together: {reason}.")


class LoraMissing(RequestRefused):
    """No LoRA of this name is in the folder."""

    code = "lora_missing"

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        self.name, self.known = name, known
        there = f"choose one of {', '.join(known)}" if known else "there are none here; see LORAS_DIR"
        super().__init__(f"There is no LoRA {name!r}: {there}.")


class LoraUnfit(RequestRefused):
    """A LoRA that is there and cannot be applied: damaged, of another model, or of parts that are not changed here."""

    code = "lora_unfit"

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason = name, reason
        super().__init__(f"The LoRA {name!r} cannot be used here: {reason}.")


class PoseRefused(RequestRefused):
    """An engine without pose control was asked to follow a pose by somebody who does not allow it to be left out."""

    code = "pose_refused"

    def __init__(self, backend: str) -> None:
        self.backend = backend
        super().__init__(
            f"{backend} cannot follow a pose: allow pictures without one, or have it drawn by an engine that can."
        )


class KeyInUse(RequestRefused):
    """A live sample already has this key."""

    code = "key_in_use"

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"The key {key!r} is being drawn already: wait for its outcome or choose another key.")


class EngineClosed(RequestRefused):
    """The engine was closed and takes nothing more."""

    code = "engine_closed"

    def __init__(self) -> None:
        super().__init__("The engine is closed: load another one.")


class UnknownProfile(ModelsError):
    """No profile has this name."""

    code = "unknown_profile"

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        self.name, self.known = name, known
        super().__init__(f"There is no profile {name!r}: choose one of {', '.join(known)}.")


class WeightsMissing(ModelsError):
    """A profile's weights are not on this machine; a worker never downloads any."""

    code = "weights_missing"

    def __init__(self, profile: str, where: str, *, remedy: str | None = None) -> None:
        self.profile, self.where = profile, where
        super().__init__(
            f"The weights of {profile} were not found ({where}): {remedy or f'run `posegen models pull {profile}`'}, "
            "or use the profile tiny."
        )


class WeightsIncomplete(WeightsMissing):
    """Some of a profile's weights are here and some are not. `where` names the file and what is wrong with it."""

    code = "weights_incomplete"

    def __init__(self, profile: str, where: str) -> None:
        super().__init__(profile, where)
        self.args = (
            f"The weights of {profile} are incomplete ({where}): run `posegen models pull {profile}` again, or copy "
            "the folder again if you filled it yourself.",
        )


class WeightsUnfit(ModelsError):
    """Weights that are whole and still of no use here."""

    code = "weights_unfit"


class WrongKind(WeightsUnfit):
    """Weights of something else than the profile draws with."""

    code = "wrong_kind"

    def __init__(self, profile: str, where: str, reason: str) -> None:
        self.profile, self.where, self.reason = profile, where, reason
        super().__init__(f"{where} is not what {profile} draws with: {reason}.")


class WrongShape(WeightsUnfit):
    """A tensor whose shape is not the one its configuration asks for."""

    code = "wrong_shape"

    def __init__(self, where: str, tensor: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
        self.where, self.tensor, self.found, self.expected = where, tensor, found, expected
        super().__init__(
            f"{where}: the tensor {tensor} is {_by(found)}, and config.json asks for {_by(expected)}: the weights and "
            "the configuration are of different models, fetch both from one place."
        )


class PickleRefused(WeightsUnfit):
    """Weights in a pickle: reading one can run any code that is in it."""

    code = "pickle_refused"

    def __init__(self, where: str) -> None:
        self.where = where
        super().__init__(
            f"{where} is a pickle, which can run code when it is read: get the weights as .safetensors, or convert "
            "them on a machine that you can afford to lose."
        )


class DownloadFailed(ModelsError):
    """Fetching weights got no further. Files that are whole stay, and a broken one is resumed by the next try."""

    code = "download_failed"

    def __init__(self, repo: str, message: str) -> None:
        self.repo = repo
        super().__init__(message)


class TokenMissing(DownloadFailed):
    """The repository is gated and nobody is logged in."""

    code = "token_missing"

    def __init__(self, repo: str) -> None:
        super().__init__(
            repo,
            f"{repo} is given to accounts that accepted its licence: accept it on https://huggingface.co/{repo}, make "
            "a token with read access on https://huggingface.co/settings/tokens, and set it as HF_TOKEN.",
        )


class TokenRefused(DownloadFailed):
    """The hub does not know the token."""

    code = "token_refused"

    def __init__(self, repo: str) -> None:
        super().__init__(
            repo,
            f"The hub does not accept the token for {repo}: make a new one with read access on "
            "https://huggingface.co/settings/tokens, and set it as HF_TOKEN.",
        )


class LicenceNotAccepted(DownloadFailed):
    """The account of the token may not read the repository."""

    code = "licence_not_accepted"

    def __init__(self, repo: str) -> None:
        super().__init__(
            repo,
            f"The account of this token has not accepted the licence of {repo}: log in as that account, accept it on "
            f"https://huggingface.co/{repo}, and try again. A fine-grained token needs access to gated repositories.",
        )


class RepositoryUnknown(DownloadFailed):
    """The hub has no such repository, revision or file."""

    code = "repository_unknown"

    def __init__(self, repo: str, missing: str) -> None:
        self.missing = missing
        super().__init__(repo, f"The hub has no {missing}: check MODEL_SOURCES.")


class HubAway(DownloadFailed):
    """The hub does not answer, or the connection broke off for good."""

    code = "hub_away"

    def __init__(self, repo: str, reason: str) -> None:
        self.reason = reason
        super().__init__(
            repo, f"Fetching {repo} broke off ({reason}): run the same command again, it goes on where it stopped."
        )


class DownloadsOff(DownloadFailed):
    """HF_HUB_OFFLINE forbids it."""

    code = "downloads_off"

    def __init__(self, repo: str) -> None:
        super().__init__(repo, f"HF_HUB_OFFLINE is set, so {repo} is not fetched: unset it, or copy the weights here.")


class DiskTooFull(DownloadFailed):
    """The files do not fit where they would go; nothing was fetched."""

    code = "disk_too_full"

    def __init__(self, repo: str, where: str, needed_bytes: int, free_bytes: int) -> None:
        self.where, self.needed_bytes, self.free_bytes = where, needed_bytes, free_bytes
        super().__init__(
            repo,
            f"{where} has {free_bytes / 1e9:.1f} GB free and {needed_bytes / 1e9:.1f} GB are to come: make room, or "
            "set HF_HOME to a folder on a larger disk.",
        )


class DamagedDownload(DownloadFailed):
    """A file that arrived whole and is not what the hub says it is; it was thrown away."""

    code = "damaged_download"

    def __init__(self, repo: str, file: str) -> None:
        self.file = file
        super().__init__(repo, f"{file} of {repo} arrived damaged and was thrown away: run the same command again.")


class DeviceMissing(ModelsError):
    """The device asked for does not exist here."""

    code = "device_missing"

    def __init__(self, device: str, found: tuple[str, ...]) -> None:
        self.device, self.found = device, found
        super().__init__(f"There is no device {device!r} here: choose one of {', '.join(found)} or auto.")


class CardTooSmall(ModelsError):
    """No way to place a profile's networks leaves room for one picture. `would_fit` says in words what would."""

    code = "card_too_small"

    def __init__(self, profile: str, card_bytes: int, precision: str, would_fit: str) -> None:
        self.profile, self.card_bytes, self.precision, self.would_fit = profile, card_bytes, precision, would_fit
        super().__init__(
            f"{profile} in {precision} does not fit {card_bytes / 2**30:.1f} GiB of this card; what would: {would_fit}."
        )


class LibraryMissing(ModelsError):
    """A library that is not installed by itself, or not one that works here. `install`: the command that gets it."""

    code = "library_missing"

    def __init__(self, library: str, purpose: str, reason: str) -> None:
        self.library, self.purpose, self.reason = library, purpose, reason
        super().__init__(
            f"{purpose} needs {library}, which cannot be used here ({reason}): pip install -c constraints.txt {library}"
        )


class AttentionMissing(ModelsError):
    """The attention asked for cannot be used on this device, or gives wrong numbers on it."""

    code = "attention_missing"

    def __init__(self, attention: str, reason: str) -> None:
        self.attention, self.reason = attention, reason
        super().__init__(f"Attention {attention!r} cannot be used here ({reason}): leave it at auto, or choose native.")


class OutOfMemory(ModelsError):
    """One picture alone does not fit the device's memory; with more rows the engine splits by itself."""

    code = "out_of_memory"

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        super().__init__(
            f"A single {width}x{height} picture does not fit this device's memory: choose a smaller size or profile."
        )


class BadPicture(ModelsError):
    """The numbers ran away (NaN or a black picture), in higher precision too."""

    code = "bad_picture"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The picture came out {reason} twice: try another seed, fewer steps or less control.")


class HostedFailed(ModelsError):
    """A hosted endpoint did not draw. `reason` is for the operator: it names a status, never what was sent."""

    code = "hosted_failed"

    def __init__(self, message: str, reason: str) -> None:
        self.reason = reason
        super().__init__(message)


class EndpointRefused(HostedFailed):
    """The endpoint does not draw this picture, whoever asks how often."""

    code = "endpoint_refused"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The drawing service refused this picture ({reason}): change its words or its size.", reason)


class EndpointBroke(HostedFailed):
    """The endpoint failed at this picture several times."""

    code = "endpoint_broke"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The drawing service failed at this picture several times ({reason}): try again.", reason)


class EndpointLate(HostedFailed):
    """The endpoint did not answer in time, several times."""

    code = "endpoint_late"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The drawing service took too long, several times ({reason}): try again later.", reason)


class EndpointAway(HostedFailed):
    """The endpoint draws nothing at the moment, and no picture is the reason."""

    code = "endpoint_away"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The drawing service does not draw at the moment ({reason}): try again later.", reason)


class EndpointSaid(HostedFailed):
    """What the endpoint's own engine said of one picture, with that error's code."""

    code = "endpoint_said"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message, code)
        self.code = code


class DetectorMissing(ModelsError):
    """No detector of poses has everything it needs here."""

    code = "detector_missing"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"Photos cannot be read here ({reason}): fetch a detector's weights and restart the worker.")


class DetectorFailed(ModelsError):
    """A detector of poses cannot be loaded, or broke on a photo."""

    code = "detector_failed"

    def __init__(self, detector: str, reason: str) -> None:
        self.detector, self.reason = detector, reason
        super().__init__(f"The detector {detector} failed ({reason}): try another photo, or check its files.")


class CardFailed(ModelsError):
    """The device no longer answers properly. Every live sample is lost to this engine; the process should end.

    Nothing on the device may be used any more. by_itself: nothing that was computed can have caused it.
    """

    code = "card_failed"

    def __init__(self, device: str, reason: str, *, by_itself: bool = False) -> None:
        self.device, self.reason, self.by_itself = device, reason, by_itself
        super().__init__(f"The device {device} failed ({reason}): restart the worker; if it repeats, check the card.")


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single number"
