"""What customers, their tools and their enemies send that must be refused: one line each, by area.

A case is a request with the status and the refused fields it must be answered with. `login` names a user or a sort of
bad login (bad_input_ground.py makes both); names in braces become real ids.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bad_input_files import animation, bomb, picture

APP = "/api/apps/pose-generator"
AVATARS = "/api/apps/avatar-creator/avatars"
SOCKET = "/socket.io"
JSON = {"Content-Type": "application/json"}
UNKNOWN = "00000000-0000-7000-8000-000000000000"
MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request that is refused. `sent` is what httpx2 is given; `times` how often it is sent (the last counts)."""

    area: str
    what: str
    method: str
    path: str
    status: int
    fields: tuple[str, ...] = ()
    login: str | None = "ann"
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: Mapping[str, Any] = field(default_factory=dict)
    times: int = 1

    @property
    def asked(self) -> str:
        """Name the request."""
        if self.method == "SOCKET":
            return f"connect /pose-generator{self.path}"
        path = self.path if len(self.path) < 70 else f"{self.path[:67]}..."
        return f"{self.method} {path.replace(APP, '').replace('/api/apps', '')}"


Make = Callable[..., Case]


def _maker(area: str, method: str, path: str, **more: Any) -> Make:
    """Return what makes cases of one request: what is wrong, the status, the fields, and what is sent."""

    def make(what: str, status: int, *fields: str, **sent: Any) -> Case:
        given = {"method": method, "path": path, **more}
        given.update({name: sent.pop(name) for name in ("path", "login", "headers", "times") if name in sent})
        return Case(area=area, what=what, status=status, fields=fields, sent=sent, **given)

    return make


def _logins() -> list[Case]:
    profile = _maker("Logins", "GET", "/api/auth/profile")
    return [
        profile("no login", 401, login=None),
        profile("a login that is no token", 401, login=None, headers={"Authorization": "Bearer letmein"}),
        profile("another scheme", 401, login=None, headers={"Authorization": "Basic YW5uOmFubg=="}),
        profile("an expired login", 401, login="expired"),
        profile("signed with another secret", 401, login="forged"),
        profile("unsigned (`alg: none`)", 401, login="unsigned"),
        profile("signed with another algorithm", 401, login="strong"),
        profile("a login without an end", 401, login="endless"),
        profile("a login that names nobody", 401, login="nameless"),
        profile("a login of somebody unknown here", 401, login="nobody"),
    ]


def _accounts() -> list[Case]:
    register = _maker("Accounts", "POST", "/api/auth/register", login=None)
    log_in = _maker("Accounts", "POST", "/api/auth/login", login=None)
    change = _maker("Accounts", "PUT", "/api/auth/profile")
    new = {"email": "new@example.com", "password": "long enough for this"}
    return [
        register("an empty object", 400, "email", "password", json={}),
        register("no e-mail address", 400, "email", json={**new, "email": "ann at example"}),
        register("a password of 11 characters", 400, "password", json={**new, "password": "elevenchars"}),
        register("a password of 1025 characters", 400, "password", json={**new, "password": "x" * 1025}),
        register("a number for a password", 400, "password", json={**new, "password": 123456789012}),
        register("a NUL character in the name", 400, "name", json={**new, "name": "A\0B"}),
        register("a name of 201 characters", 400, "name", json={**new, "name": "x" * 201}),
        register(
            "half a character",
            400,
            "name",
            content=b'{"email":"n@example.com","password":"long enough for this","name":"\\ud800"}',
            headers=JSON,
        ),
        register("an e-mail that has an account", 409, json={**new, "email": "Ann@Example.com"}),
        register("a list", 400, "body", json=[new]),
        register("broken JSON", 400, "body", content=b'{"email": "new@example.com",}', headers=JSON),
        register("no body", 400, "body", content=b"", headers=JSON),
        register("bytes that are no UTF-8", 400, "body", content=b"\xff\xfe\x00{", headers=JSON),
        register("100,000 brackets", 400, content=b'{"email":' + b"[" * 100_000, headers=JSON),
        register("a form", 400, "body", data=new),
        register("a body of 2 MB", 413, content=b" " * 2 * MEGABYTE, headers=JSON),
        log_in("a wrong password", 401, json={"email": "ann@example.com", "password": "wrong"}),
        log_in("an unknown e-mail", 401, json={"email": "who@example.com", "password": "wrong"}),
        log_in("an object for an e-mail", 400, "email", json={"email": {"$ne": ""}, "password": "wrong"}),
        log_in("the sixth try in 15 minutes", 429, json={"email": "poor@example.com", "password": "wrong"}, times=6),
        change(
            "a new password without the current one", 400, "currentPassword", json={"newPassword": "another long one"}
        ),
        change(
            "a wrong current password",
            400,
            "currentPassword",
            json={"newPassword": "another long one", "currentPassword": "wrong"},
        ),
        change("a new password that is too short", 400, "newPassword", json={"newPassword": "short"}),
        change(
            "somebody else's e-mail", 409, json={"email": "bob@example.com", "currentPassword": "correct horse battery"}
        ),
        _maker("Accounts", "GET", "/api/credits/history?limit=many")("a word for a number", 400, "limit"),
    ]


def _projects() -> list[Case]:
    create = _maker("Projects", "POST", f"{APP}/projects")
    see = _maker("Projects", "GET", f"{APP}/projects")
    change = _maker("Projects", "PUT", f"{APP}/projects/{{anns_project}}")
    delete = _maker("Projects", "DELETE", f"{APP}/projects/{{anns_project}}")
    new = {"projectName": "Lookbook", "avatarSource": "UPLOAD"}
    return [
        create("an empty object", 400, "projectName", "avatarSource", json={}),
        create("a name of 2 characters", 400, "projectName", json={**new, "projectName": "ab"}),
        create("a name of blanks", 400, "projectName", json={**new, "projectName": "     "}),
        create("a name of 101 characters", 400, "projectName", json={**new, "projectName": "x" * 101}),
        create("a description of 501 characters", 400, "description", json={**new, "description": "x" * 501}),
        create("an unknown source", 400, "avatarSource", json={**new, "avatarSource": "CAMERA"}),
        create("the avatar creator without an avatar", 400, "avatarId", json={**new, "avatarSource": "AVATAR_CREATOR"}),
        create("an unknown avatar", 404, json={**new, "avatarId": UNKNOWN}),
        create("bob's avatar", 404, json={**new, "avatarId": "{bobs_avatar}"}),
        create("a script for a picture", 400, "avatarImageUrl", json={**new, "avatarImageUrl": "javascript:alert(1)"}),
        see("an unknown project", 404, path=f"{APP}/projects/{UNKNOWN}"),
        see("bob's project", 404, path=f"{APP}/projects/{{bobs_project}}"),
        see("page 0", 400, "page", path=f"{APP}/projects?page=0"),
        see("page 1e30", 400, "page", path=f"{APP}/projects?page=1{'0' * 30}"),
        see("101 a page", 400, "limit", path=f"{APP}/projects?limit=101"),
        see("a word for a number", 400, "limit", path=f"{APP}/projects?limit=all"),
        see("an unknown status", 400, "status", path=f"{APP}/projects?status=lost"),
        change("bob's project", 404, path=f"{APP}/projects/{{bobs_project}}", json={"projectName": "Mine"}),
        change("deleting by status", 400, "status", json={"status": "deleted"}),
        delete("bob's project", 404, path=f"{APP}/projects/{{bobs_project}}"),
        delete("a project whose pictures are being drawn", 409),
    ]


def _avatars() -> list[Case]:
    looks = {"name": "Ayu"}

    def upload(what: str, status: int, content: bytes, *, name: str = "photo.png", **more: Any) -> Case:
        make = _maker("Avatars and photos", "POST", AVATARS)
        fields = more.pop("fields", ("image",))
        return make(what, status, *fields, data=more.pop("data", looks), files={"image": (name, content, "image/png")})

    create = _maker("Avatars and photos", "POST", AVATARS)
    see = _maker("Avatars and photos", "GET", AVATARS)
    good = picture("PNG")
    return [
        upload("a text that is called photo.png", 415, b"this is no picture"),
        upload("a GIF", 415, picture("GIF"), name="photo.gif"),
        upload("an empty file", 415, b""),
        upload("a side of 511 pixels", 400, picture("PNG", 511, 800)),
        upload("a side of 4097 pixels", 400, picture("PNG", 4097, 512)),
        upload("a decompression bomb: 60,000x60,000 in 100 bytes", 413, bomb(60_000)),
        upload("a bomb of 4097x4097", 413, bomb(4097)),
        upload("a photo that is cut off", 400, picture("JPEG")[:2000]),
        upload("magic bytes and nothing else", 400, b"\x89PNG\r\n\x1a\n"),
        upload("an animation", 400, animation()),
        upload("a path for a file name", 400, good, name="../../etc/passwd"),
        upload("a Windows path for a file name", 400, good, name="..\\..\\photo.png"),
        upload("10 MB and one byte", 413, good + b"\0" * (10 * MEGABYTE - len(good) + 1)),
        upload("11 MB", 413, b"\0" * 11 * MEGABYTE, fields=()),
        upload("no name", 400, good, data={}, fields=("name",)),
        upload("a name of 101 characters", 400, good, data={"name": "x" * 101}, fields=("name",)),
        upload("a refused word in the looks", 400, good, data={**looks, "style": "nude"}, fields=("style",)),
        upload("an unknown folder", 404, good, data={**looks, "projectId": UNKNOWN}, fields=()),
        create("a text for a photo", 400, "image", data={**looks, "image": "photo.png"}),
        create("JSON for a form", 400, "image", "name", json=looks),
        create("a form without its boundary", 400, content=b"--x\r\n", headers={"Content-Type": "multipart/form-data"}),
        see("an unknown avatar", 404, path=f"{AVATARS}/{UNKNOWN}"),
        see("bob's avatar", 404, path=f"{AVATARS}/{{bobs_avatar}}"),
        _maker("Avatars and photos", "DELETE", f"{AVATARS}/{{bobs_avatar}}")("bob's avatar, to delete", 404),
    ]


def _orders() -> list[Case]:
    order = _maker("Orders", "POST", f"{APP}/generate")
    good = {
        "projectId": "{anns_project}",
        "generationType": "GALLERY_REFERENCE",
        "selectedPoseIds": ["{pose}"],
        "batchSize": 1,
    }
    words = {
        "projectId": "{anns_project}",
        "generationType": "TEXT_DESCRIPTION",
        "textPrompt": "a woman sitting on a chair",
    }
    raw = (
        '{"projectId":"{anns_project}","generationType":"GALLERY_REFERENCE","selectedPoseIds":["{pose}"],'
        '"batchSize":1,%s}'
    )

    def with_number(what: str, status: int, name: str, number: str) -> Case:
        return order(what, status, name, content=raw % f'"{name}":{number}', headers=JSON)

    return [
        order("an empty object", 400, "generationType", "projectId", json={}),
        order("an unknown kind", 400, "generationType", json={**good, "generationType": "VIDEO"}),
        order("no pose", 400, "selectedPoseIds", json={**good, "selectedPoseIds": []}),
        order("51 poses", 400, "selectedPoseIds", json={**good, "selectedPoseIds": ["{pose}"] * 51}),
        order("one pose twice", 400, "selectedPoseIds", json={**good, "selectedPoseIds": ["{pose}", "{pose}"]}),
        order("a text for the list of poses", 400, "selectedPoseIds", json={**good, "selectedPoseIds": "{pose}"}),
        order("numbers for poses", 400, "selectedPoseIds[0]", json={**good, "selectedPoseIds": [1]}),
        order("an unknown pose", 404, json={**good, "selectedPoseIds": ["{pose}", UNKNOWN]}),
        order("an id of 65 characters", 400, "selectedPoseIds[0]", json={**good, "selectedPoseIds": ["x" * 65]}),
        order("an unknown project", 404, json={**good, "projectId": UNKNOWN}),
        order("bob's project", 404, json={**good, "projectId": "{bobs_project}"}),
        order("bob's avatar", 404, json={**good, "avatarId": "{bobs_avatar}"}),
        order("no variation", 400, "batchSize", json={**good, "batchSize": 0}),
        order("7 variations", 400, "batchSize", json={**good, "batchSize": 7}),
        order("a text for a number", 400, "batchSize", json={**good, "batchSize": "4"}),
        order("two and a half variations", 400, "batchSize", json={**good, "batchSize": 2.5}),
        order("true for a number", 400, "batchSize", json={**good, "batchSize": True}),
        with_number("a number of 31 digits", 400, "seed", "1" + "0" * 30),
        with_number("a negative seed", 400, "seed", "-1"),
        with_number("NaN", 400, "guidance", "NaN"),
        with_number("Infinity", 400, "controlStrength", "Infinity"),
        with_number("a number beyond all numbers", 400, "guidance", "1e999"),
        with_number("guidance of 1e308", 400, "guidance", "1e308"),
        order("no steps", 400, "steps", json={**good, "steps": 0}),
        order(
            "51 steps, a size and a strength out of range",
            400,
            "width",
            "steps",
            "controlStrength",
            json={**good, "steps": 51, "width": 100, "controlStrength": 99},
        ),
        order("words of 9 characters", 400, "textPrompt", json={**words, "textPrompt": "too short"}),
        order("words of 501 characters", 400, "textPrompt", json={**words, "textPrompt": "word " * 100 + "!"}),
        order("text mode without words", 400, "textPrompt", json={**words, "textPrompt": "   "}),
        order("a NUL character in the words", 400, "textPrompt", json={**words, "textPrompt": "a woman\0 on a chair"}),
        order("a refused word", 400, "textPrompt", json={**words, "textPrompt": "a nude woman on a chair"}),
        order("11 variations of words", 400, "variationCount", json={**words, "variationCount": 11}),
        order(
            "key-points in text mode",
            400,
            "poses",
            json={**words, "poses": [{"people": [{"pose_keypoints_2d": POINTS}]}]},
        ),
        order("key-points of nobody", 400, "poses[0].people", json={**good, "poses": [{"people": []}]}),
        order(
            "a refused word for a pose's name",
            400,
            "poses[0].name",
            json={**good, "poses": [{"name": "nude", "people": [{"pose_keypoints_2d": POINTS}]}]},
        ),
        order("not enough credits", 402, login="poor", json={**good, "projectId": "{poors_project}"}),
        order(
            "more than today's quota", 403, login="uma", json={**good, "projectId": "{umas_project}", "batchSize": 4}
        ),
        order("an empty Idempotency-Key", 400, "Idempotency-Key", json=good, headers={"Idempotency-Key": ""}),
        order(
            "an Idempotency-Key of 256 characters",
            400,
            "Idempotency-Key",
            json=good,
            headers={"Idempotency-Key": "k" * 256},
        ),
        order(
            "a used Idempotency-Key with another order",
            422,
            json={**good, "batchSize": 2},
            headers={"Idempotency-Key": "used"},
        ),
        _maker("Orders", "POST", f"{APP}/generate/quote")(
            "a quote for 7 variations", 400, "batchSize", json={**good, "batchSize": 7}
        ),
    ]


POINTS = [0.5, 0.5, 1.0] * 18
"""Eighteen seen points: enough of a pose to be read."""


def _key_points() -> list[Case]:
    read = _maker("Key-points", "POST", f"{APP}/poses/import")
    draw = _maker("Key-points", "POST", f"{APP}/poses/render")
    suggest = _maker("Key-points", "POST", f"{APP}/poses/suggest")
    person = {"pose_keypoints_2d": POINTS}
    body = "people[0].pose_keypoints_2d"

    def raw(what: str, status: int, number: str, *fields: str) -> Case:
        points = f"[{number}, 0.5, 1" + ", 0.5, 0.5, 1" * 17 + "]"
        return read(what, status, *fields, content=f'{{"people":[{{"pose_keypoints_2d":{points}}}]}}', headers=JSON)

    def points(what: str, given: Any, *fields: str, **more: Any) -> Case:
        return read(what, 400, *fields, json={"people": [{"pose_keypoints_2d": given}], **more})

    return [
        read("no people", 400, "people", json={}),
        read("an object for people", 400, "people", json={"people": {}}),
        read("9 people", 400, "people", json={"people": [person] * 9}),
        read("a text for a person", 400, "people[0]", json={"people": ["me"]}),
        read("a person without a body", 400, body, json={"people": [{"face_keypoints_2d": []}]}),
        points("16 points", [0.5, 0.5, 1.0] * 16, body),
        points("text among the numbers", ["a", *POINTS[1:]], f"{body}[0]"),
        points("true among the numbers", [True, *POINTS[1:]], f"{body}[0]"),
        raw("NaN", 400, "NaN", f"{body}[0]"),
        raw("Infinity", 400, "-Infinity", f"{body}[0]"),
        raw("a number of 400 digits", 400, "9" * 400, f"{body}[0]"),
        points("nobody was seen", [0, 0, 0] * 18, "people"),
        points(
            "far outside the picture",
            [5000.0, 5000.0, 1.0] * 18,
            "people[0]",
            canvas_width=512,
            canvas_height=512,
        ),
        points("a canvas of minus 1", POINTS, "canvas_width", canvas_width=-1, canvas_height=512),
        points("a canvas of 1x100,000", POINTS, "canvas_width", canvas_width=1, canvas_height=100_000),
        points("a text for the canvas", POINTS, "canvas_width", canvas_width="wide", canvas_height=512),
        read(
            "hands of 20 points",
            400,
            "people[0].hand_left_keypoints_2d",
            json={"people": [{**person, "hand_left_keypoints_2d": [0.5, 0.5, 1.0] * 20}]},
        ),
        read("a list of two pictures", 400, "body", json=[{"people": [person]}] * 2),
        read(
            "broken people in the second of two poses",
            400,
            "poses[1].people",
            json={"poses": [{"people": [person]}, {}]},
        ),
        read("9 poses side by side", 400, "poses", json={"poses": [{"people": [person]}] * 9}),
        read("an aspect of 0", 400, "aspect", json={"people": [person], "aspect": 0}),
        read("an aspect of 100", 400, "aspect", json={"people": [person], "aspect": 100}),
        read("a word for true", 400, "mirror", json={"people": [person], "mirror": "yes"}),
        draw("a map of 100,000 pixels", 400, "width", json={"people": [person], "width": 100_000}),
        draw("a map of 0 pixels", 400, "width", json={"people": [person], "width": 0}),
        draw("an unknown rendering", 400, "rendering", json={"people": [person], "rendering": "photo"}),
        suggest("words of 2 characters", 400, "text", json={"text": " hi "}),
        suggest("no words", 400, "text", json={}),
        suggest("a million suggestions", 400, "limit", json={"text": "sitting", "limit": 1_000_000}),
    ]


def _generations() -> list[Case]:
    see = _maker("Generations and pictures", "GET", f"{APP}/generations")
    cancel = _maker("Generations and pictures", "POST", f"{APP}/generations/{{bobs_order}}/cancel")
    like = _maker("Generations and pictures", "PUT", f"{APP}/poses/{UNKNOWN}/favorite")
    return [
        see("an unknown generation", 404, path=f"{APP}/generations/{UNKNOWN}"),
        see("bob's generation", 404, path=f"{APP}/generations/{{bobs_order}}"),
        see("bob's results", 404, path=f"{APP}/generations/{{bobs_order}}/results"),
        see("bob's pictures", 404, path=f"{APP}/generations/{{bobs_order}}/poses"),
        see("an unknown status", 400, "status", path=f"{APP}/generations?status=done"),
        see("nothing a page", 400, "limit", path=f"{APP}/generations/{{anns_order}}/poses?limit=0"),
        see("a list of 101 tiles", 400, "limit", path="/api/generations/recent?limit=101"),
        cancel("bob's generation, to cancel", 404),
        cancel("a generation that is over", 409, path=f"{APP}/generations/{{anns_failed}}/cancel"),
        like("an unknown picture", 404, json={"isFavorite": True}),
        like("nothing said", 400, "isFavorite", json={}),
        like("a word for true", 400, "isFavorite", json={"isFavorite": "yes"}),
    ]


def _library() -> list[Case]:
    see = _maker("Library and wishes", "GET", f"{APP}/library")
    wish = _maker("Library and wishes", "POST", f"{APP}/requests")
    good = {"poseName": "Handstand", "description": "upside down on both hands, legs straight"}
    return [
        see("an unknown pose", 404, path=f"{APP}/library/nowhere"),
        see("a NUL character in the address", 404, path=f"{APP}/library/a%00b"),
        see("a NUL character in the search", 400, path=f"{APP}/library?search=a%00b"),
        see("a search of 201 characters", 400, "search", path=f"{APP}/library?search={'x' * 201}"),
        see("an unknown difficulty", 400, "difficulty", path=f"{APP}/library?difficulty=hard"),
        see("an unknown order", 400, "sort", path=f"{APP}/library?sort=price"),
        see("a word for true", 400, "featured", path=f"{APP}/library?featured=perhaps"),
        wish("a name of 2 characters", 400, "poseName", json={**good, "poseName": "ab"}),
        wish("a description of 9 characters", 400, "description", json={**good, "description": "too short"}),
        wish("an unknown category", 404, json={**good, "categoryId": "nowhere"}),
        wish(
            "a file of the server for a picture",
            400,
            "referenceImageUrl",
            json={**good, "referenceImageUrl": "file:///etc/passwd"},
        ),
    ]


def _addresses() -> list[Case]:
    ask = _maker("Addresses and rights", "GET", "/api/nothing")
    return [
        ask("an unknown address", 404),
        ask("a method that is not taken", 405, path="/api/auth/login"),
        _maker("Addresses and rights", "DELETE", f"{APP}/generate")("another one", 405),
        _maker("Addresses and rights", "POST", f"{APP}/recovery/trigger")("what only administrators may", 403),
        ask("a made-up link to a picture", 404, login=None, path=f"{APP}/files/made-up/photo.png"),
        ask("a path out of the store", 404, login=None, path=f"{APP}/files/..%2f..%2fetc%2fpasswd/x.png"),
    ]


def _sockets() -> list[Case]:
    knock = _maker("Live updates", "SOCKET", "/pose-generator", login=None)
    return [
        knock("no login", 0, path=""),
        knock("a login that is no token", 0, path="", auth={"token": "letmein"}),
        knock("a number for a token", 0, path="", auth={"token": 7}),
        knock("a text for the login", 0, path="", auth="letmein"),
        knock("a token in the address", 0, path="?token=letmein"),
        knock("an expired login", 0, path="", login="expired"),
        knock("signed with another secret", 0, path="", login="forged"),
        knock("unsigned (`alg: none`)", 0, path="", login="unsigned"),
        knock("a login of somebody unknown here", 0, path="", login="nobody"),
    ]


CASES: Sequence[Case] = (
    *_logins(),
    *_accounts(),
    *_projects(),
    *_avatars(),
    *_orders(),
    *_key_points(),
    *_generations(),
    *_library(),
    *_addresses(),
    *_sockets(),
)
