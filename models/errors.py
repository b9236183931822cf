"""What can go wrong while drawing, as one tree, so that a caller decides by class and never by reading a message.

ModelsError                 models_error        root of everything this package raises on purpose
├── RequestRefused          request_refused     the request is wrong; sending it again will not help
│   ├── EmptyPrompt         empty_prompt
│   ├── SizeRefused         size_refused
│   ├── ControlRefused      control_refused     the control picture has the wrong size or mode
│   ├── StepsRefused        steps_refused
│   ├── StrengthRefused     strength_refused    guidance, control_scale, control_end or seed out of range
│   ├── KeyInUse            key_in_use          a live sample already has this key
│   └── EngineClosed        engine_closed
├── UnknownProfile          unknown_profile
├── WeightsMissing          weights_missing     a profile's weights are not on this machine
│   └── WeightsIncomplete   weights_incomplete  a part of them is: a lost shard, a cut-off file, a broken download
├── WeightsUnfit            weights_unfit       the files are there and whole, but nothing here draws with them
│   ├── WrongKind           wrong_kind          weights of another model, or of another variant of it
│   ├── WrongShape          wrong_shape         a tensor is not as large as the configuration says
│   └── PickleRefused       pickle_refused      weights in a form that can run code when it is read
├── DeviceMissing           device_missing      the device asked for is not there
├── CardTooSmall            card_too_small      no way to place the networks fits the card; known before loading
├── LibraryMissing          library_missing     an optional library that this way of drawing needs
├── OutOfMemory             out_of_memory       one picture alone does not fit the card
├── BadPicture              bad_picture         NaN or all black, also in higher precision
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

    def __init__(self, profile: str, where: str) -> None:
        self.profile, self.where = profile, where
        super().__init__(
            f"The weights of {profile} were not found ({where}): run `posegen models pull {profile}`, or use the "
            "profile tiny."
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
    """The device no longer answers properly. Every live sample is lost to this engine; the process should end."""

    code = "card_failed"

    def __init__(self, device: str, reason: str) -> None:
        self.device, self.reason = device, reason
        super().__init__(f"The device {device} failed ({reason}): restart the worker; if it repeats, check the card.")


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single number"
