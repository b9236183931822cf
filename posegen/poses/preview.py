"""The friendly picture of a pose that people choose from: a clothed mannequin on a light ground.

Built from the pose alone, so that imported poses have one too. It is drawn large and scaled down, parts from back to
front, each with a thin light edge so that an arm across the chest can be read. Depth is guessed: in a side view the
side away from the viewer lies behind the body.
"""

import math
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageFilter

from posegen.poses import anatomy, skeleton
from posegen.poses.brush import EDGE, Brush
from posegen.poses.drawing import check_size
from posegen.poses.framing import frame_pose
from posegen.poses.keypoints import Person, Points, Pose
from posegen.poses.skeleton import RGB

_OVERSAMPLING: Final = 3
_BACKDROP_TOP: Final[RGB] = (246, 244, 240)
_BACKDROP_BOTTOM: Final[RGB] = (225, 221, 214)
_SHADOW: Final[RGB] = (168, 162, 153)
_SHIRT: Final[RGB] = (63, 94, 140)
_SHIRT_FAR: Final[RGB] = (94, 121, 160)
_TROUSERS: Final[RGB] = (54, 60, 76)
_TROUSERS_FAR: Final[RGB] = (92, 98, 114)
_SHOES: Final[RGB] = (128, 74, 52)
_SKIN: Final[RGB] = (222, 176, 146)
_FEATURES: Final[RGB] = (116, 74, 58)
_EYE_WHITE: Final[RGB] = (245, 241, 236)
_LIPS: Final[RGB] = (188, 110, 98)
_HAIR: Final[RGB] = (84, 62, 52)

_XY = tuple[float, float]
_MAY_TOUCH_THE_GROUND: Final = (
    skeleton.R_ANKLE, skeleton.L_ANKLE, skeleton.R_KNEE, skeleton.L_KNEE, skeleton.R_HIP, skeleton.L_HIP,
    skeleton.R_SHOULDER, skeleton.L_SHOULDER,
)  # fmt: skip


def draw_preview(pose: Pose, width_px: int, height_px: int) -> Image.Image:
    """Draw the pose as mannequins on a light backdrop, RGB, framed as draw_pose does. Raises MapSizeRefused."""
    check_size(width_px, height_px)
    size = width_px * _OVERSAMPLING, height_px * _OVERSAMPLING
    people = [_Mannequin.of(person, size) for person in frame_pose(pose, width_px / height_px).people]
    # What is soft is drawn at the final size, because blurring the large canvas takes longer than everything else.
    ground, shadow = _backdrop((width_px, height_px)), Image.new("L", (width_px, height_px))
    for mannequin in people:
        mannequin.cast_shadow(ImageDraw.Draw(shadow))
    blur = min(width_px, height_px) * 0.008
    ground.paste(Image.new("RGB", shadow.size, _SHADOW), mask=shadow.filter(ImageFilter.GaussianBlur(blur)))
    canvas = ground.resize(size, Image.Resampling.NEAREST)
    for mannequin in people:
        mannequin.draw(Brush(ImageDraw.Draw(canvas), mannequin.unit))
    return canvas.reduce(_OVERSAMPLING)


def _backdrop(size: tuple[int, int]) -> Image.Image:
    ramp = Image.linear_gradient("L").resize(size)
    return Image.composite(Image.new("RGB", size, _BACKDROP_BOTTOM), Image.new("RGB", size, _BACKDROP_TOP), ramp)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mannequin:
    """One person in pixels of the oversampled canvas. `unit` is their standing height in these pixels."""

    body: list[_XY | None]
    hands: dict[int, list[_XY | None] | None]
    face: list[_XY | None] | None
    unit: float
    turn: float  # -1 faces the viewer's left, 0 the viewer (or away), 1 the viewer's right
    size: tuple[int, int]

    @classmethod
    def of(cls, person: Person, size: tuple[int, int]) -> "_Mannequin":
        def pixels(points: Points | None) -> list[_XY | None] | None:
            return None if points is None else [None if p is None else (p.x * size[0], p.y * size[1]) for p in points]

        body = pixels(person.body) or []
        unit = _standing_height(body, size)
        return cls(
            body=body,
            hands={-1: pixels(person.hand_right), 1: pixels(person.hand_left)},
            face=pixels(person.face),
            unit=unit,
            turn=_turn(body, unit),
            size=size,
        )

    def cast_shadow(self, draw: ImageDraw.ImageDraw) -> None:
        if not (self.body[skeleton.R_ANKLE] or self.body[skeleton.L_ANKLE]):
            return
        carrying = [p for i in _MAY_TOUCH_THE_GROUND if (p := self.body[i])]
        low = max(y for _, y in carrying) + 0.045 * self.unit
        near = [x for x, y in carrying if y > low - 0.16 * self.unit]
        left, right = min(near) - 0.09 * self.unit, max(near) + 0.09 * self.unit
        outline = (left, low - 0.016 * self.unit, right, low + 0.016 * self.unit)
        draw.ellipse(tuple(edge / _OVERSAMPLING for edge in outline), fill=150)

    def draw(self, brush: Brush) -> None:
        """Draw from back to front: far side, legs, torso, head, near side."""
        far = 0 if abs(self.turn) < 0.75 else (1 if self.turn > 0 else -1)
        order = (1, -1) if far >= 0 else (-1, 1)
        if far:
            self._arm(brush, far, _SHIRT_FAR)
            self._leg(brush, far, _TROUSERS_FAR)
        self._torso(brush)
        self._pelvis(brush, edge=0.006)
        for side in order:
            if side != far:
                self._leg(brush, side, _TROUSERS)
        self._pelvis(brush, edge=0.0)
        self._head(brush)
        for side in order:
            if side != far:
                self._arm(brush, side, _SHIRT)

    def _joints(self, side: int, right: tuple[int, ...], left: tuple[int, ...]) -> list[_XY | None]:
        return [self.body[i] for i in (right if side < 0 else left)]

    def _leg(self, brush: Brush, side: int, fill: RGB) -> None:
        hip, knee, ankle = self._joints(side, (8, 9, 10), (11, 12, 13))
        if knee and ankle:
            brush.tapered(ankle, self._toes(knee, ankle), (0.021, 0.017), _SHOES)
            brush.tapered(knee, ankle, (0.036, 0.022), fill)
        if hip and knee:
            brush.tapered(hip, knee, (0.056, 0.037), fill)
        elif hip and not knee and hip[1] + 0.2 * self.unit > self.size[1]:
            brush.tapered(hip, (hip[0], hip[1] + 0.245 * self.unit), (0.056, 0.037), fill)

    def _toes(self, knee: _XY, ankle: _XY) -> _XY:
        length = math.hypot(ankle[0] - knee[0], ankle[1] - knee[1]) or 1.0
        dx, dy = (ankle[0] - knee[0]) / length, (ankle[1] - knee[1]) / length
        side = math.copysign(1.0, self.turn)
        ahead, down = 0.105 * abs(self.turn), 0.012 + 0.030 * (1 - abs(self.turn))
        toes = (
            ankle[0] + (dy * side * ahead + dx * down) * self.unit,
            ankle[1] + (-dx * side * ahead + dy * down) * self.unit,
        )
        ground = max(p[1] for p in self.body if p) + 0.055 * self.unit
        if toes[1] > ground:  # kneeling or lying: the instep rests on the floor
            return ankle[0] + dx * 0.09 * self.unit, ankle[1] + dy * 0.09 * self.unit
        return toes

    def _arm(self, brush: Brush, side: int, fill: RGB) -> None:
        shoulder, elbow, wrist = self._joints(side, (2, 3, 4), (5, 6, 7))
        if shoulder and not elbow and shoulder[1] + 0.17 * self.unit > self.size[1]:
            elbow = (shoulder[0] + side * 0.03 * self.unit, shoulder[1] + 0.186 * self.unit)
        if elbow and wrist:
            brush.tapered(elbow, wrist, (0.024, 0.017), fill)
        if shoulder and elbow:
            brush.tapered(shoulder, elbow, (0.031, 0.025), fill)
        if elbow and wrist:  # again without an edge, so that sleeve and elbow are one piece
            brush.tapered(elbow, wrist, (0.024, 0.017), fill, edge=0.0)
            hand = self.hands[side]
            if hand is None:
                brush.disc(wrist, 0.016, fill, edge=0.0)
            else:
                self._hand(brush, hand)

    def _hand(self, brush: Brush, hand: list[_XY | None]) -> None:
        palm = [p for i in (0, 1, 2, 5, 9, 13, 17) if (p := hand[i])]
        lines = [(a, b) for i, j in skeleton.HAND_LINES if (a := hand[i]) and (b := hand[j])]
        for extra, colour in ((0.005, EDGE), (0.0, _SKIN)):
            for a, b in lines:
                brush.tapered(a, b, (0.0075 + extra, 0.007 + extra), colour, edge=0.0)
        if len(palm) > 2:
            brush.area(palm, _SKIN)

    def _torso(self, brush: Brush) -> None:
        right, left, neck = self.body[skeleton.R_SHOULDER], self.body[skeleton.L_SHOULDER], self.body[skeleton.NECK]
        if right is None or left is None:
            return
        neck = neck or _between(right, left, 0.5)
        low_right, low_left = self._hips(neck)
        waist = _between(neck, _between(low_right, low_left, 0.5), 0.62)
        chest = _between(neck, waist, 0.45)
        for edge in (0.006, 0.0):
            for shoulder, hip in ((right, low_right), (left, low_left)):
                side_waist = _between(_between(shoulder, hip, 0.62), waist, 0.25)
                brush.tapered(shoulder, side_waist, (0.030, 0.038), _SHIRT, edge=edge)
                brush.tapered(side_waist, _between(shoulder, hip, 0.93), (0.038, 0.044), _SHIRT, edge=edge)
            brush.tapered(chest, waist, (0.062, 0.052), _SHIRT, edge=edge)
            brush.tapered(right, left, (0.030, 0.030), _SHIRT, edge=edge)
        brush.area([right, left, low_left, low_right], _SHIRT)

    def _hips(self, neck: _XY) -> tuple[_XY, _XY]:
        """Return both hips; those below the frame are put where they would be."""
        down = neck[1] + max(0.288 * self.unit, min(self.size[1] + 0.1 * self.unit - neck[1], 0.4 * self.unit))
        right, left = self.body[skeleton.R_HIP], self.body[skeleton.L_HIP]
        return right or (neck[0] - 0.06 * self.unit, down), left or (neck[0] + 0.06 * self.unit, down)

    def _pelvis(self, brush: Brush, *, edge: float) -> None:
        right, left = self.body[skeleton.R_HIP], self.body[skeleton.L_HIP]
        if right and left:
            brush.tapered(right, left, (0.052, 0.052), _TROUSERS, edge=edge)

    def _head(self, brush: Brush) -> None:
        seen = [p for i in (0, 14, 15, 16, 17) if (p := self.body[i])]
        neck = self.body[skeleton.NECK]
        if not seen or neck is None:
            return
        ears = [p for i in (16, 17) if (p := self.body[i])]
        eyes = [p for i in (14, 15) if (p := self.body[i])]
        nose = self.body[skeleton.NOSE]
        centre = self._centre_of_head(ears, seen, nose)
        up = _head_up(eyes, ears, neck, centre)
        brush.tapered((neck[0], neck[1] + 0.012 * self.unit), centre, (0.028, 0.024), _SKIN)
        wide = 0.046 if not ears or len(ears) == 2 else 0.050
        top = (centre[0] + up[0] * 0.024 * self.unit, centre[1] + up[1] * 0.024 * self.unit)
        chin = (centre[0] - up[0] * 0.022 * self.unit, centre[1] - up[1] * 0.022 * self.unit)
        away = nose is None
        across = (-up[1], up[0])  # to the viewer's right of an upright head
        ahead = 0.0 if nose is None else (nose[0] - centre[0]) * across[0] + (nose[1] - centre[1]) * across[1]
        if nose is not None and abs(ahead) > 0.03 * self.unit:
            brush.disc(nose, 0.009, _SKIN)
            shift = math.copysign(0.008, ahead) * self.unit
            chin = (chin[0] + across[0] * shift, chin[1] + across[1] * shift)
        crown = (top[0] + up[0] * 0.008 * self.unit, top[1] + up[1] * 0.008 * self.unit)
        brush.disc(crown, wide + 0.004, _HAIR)
        brush.tapered(top, chin, (wide, wide * 0.78), _HAIR if away else _SKIN, edge=0.0)
        if not away:
            brush.disc(crown, wide + 0.004, _HAIR, edge=0.0)
            forward = max(-1.0, min(1.0, ahead / (0.05 * self.unit))) * 0.016 * self.unit
            low = 0.020 * self.unit
            brow = (top[0] + across[0] * forward - up[0] * low, top[1] + across[1] * forward - up[1] * low)
            brush.tapered(brow, chin, (wide * 0.97, wide * 0.78), _SKIN, edge=0.0)
        self._features(brush, eyes)

    def _centre_of_head(self, ears: list[_XY], seen: list[_XY], nose: _XY | None) -> _XY:
        jaw = [p for i in skeleton.FACE_JAW if self.face and (p := self.face[i])]
        if len(ears) == 2:
            return _between(ears[0], ears[1], 0.5)
        if ears and jaw:
            return (min(x for x, _ in jaw) + max(x for x, _ in jaw)) / 2, ears[0][1]
        if ears and nose:  # one ear hidden: the middle of the head lies between the ear and the nose
            return _between(ears[0], nose, 0.38)
        return sum(p[0] for p in seen) / len(seen), sum(p[1] for p in seen) / len(seen)

    def _features(self, brush: Brush, eyes: list[_XY]) -> None:
        if self.face is None:
            for eye in eyes:
                brush.disc(eye, 0.0042, _FEATURES, edge=0.0)
            return
        self._filled(brush, (*skeleton.FACE_JAW, *reversed(skeleton.FACE_RIGHT_BROW + skeleton.FACE_LEFT_BROW)), _SKIN)
        for eye_ring in (skeleton.FACE_RIGHT_EYE, skeleton.FACE_LEFT_EYE):
            self._filled(brush, eye_ring, _EYE_WHITE)
        for pupil in (self.face[i] for i in skeleton.FACE_PUPILS):
            if pupil:
                brush.disc(pupil, 0.0032, _FEATURES, edge=0.0)
        self._filled(brush, skeleton.FACE_OUTER_LIPS, _LIPS)
        for line, width in (
            (skeleton.FACE_RIGHT_BROW, 0.0035), (skeleton.FACE_LEFT_BROW, 0.0035), (skeleton.FACE_NOSE_BASE, 0.002),
            (skeleton.FACE_RIGHT_EYE, 0.002), (skeleton.FACE_LEFT_EYE, 0.002), (skeleton.FACE_INNER_LIPS[:5], 0.0015),
        ):  # fmt: skip
            points = [p for i in line if (p := self.face[i])]
            if len(points) > 1:
                brush.line(points, width, _FEATURES)

    def _filled(self, brush: Brush, outline: tuple[int, ...], fill: RGB) -> None:
        points = [p for i in outline if self.face and (p := self.face[i])]
        if len(points) > 2:
            brush.area(points, fill)


def _head_up(eyes: list[_XY], ears: list[_XY], neck: _XY, centre: _XY) -> _XY:
    """Return the direction of the crown: square to the line of the eyes or ears if both are seen, else up the neck."""
    for pair in (eyes, ears):
        if len(pair) == 2:
            dx, dy = pair[1][0] - pair[0][0], pair[1][1] - pair[0][1]
            length = math.hypot(dx, dy)
            if length > 1e-6:
                up = (dy / length, -dx / length)
                along_neck = up[0] * (centre[0] - neck[0]) + up[1] * (centre[1] - neck[1])
                return up if along_neck > 0 else (-up[0], -up[1])
    length = math.hypot(centre[0] - neck[0], centre[1] - neck[1]) or 1.0
    dx, dy = 0.4 * (centre[0] - neck[0]) / length, (centre[1] - neck[1]) / length
    length = math.hypot(dx, dy) or 1.0
    return dx / length, dy / length


def _standing_height(body: list[_XY | None], size: tuple[int, int]) -> float:
    """Guess the standing height in pixels: foreshortening only shortens, so the longest bones tell."""
    bones = (
        (2, 3, anatomy.UPPER_ARM), (5, 6, anatomy.UPPER_ARM), (3, 4, anatomy.FOREARM), (6, 7, anatomy.FOREARM),
        (8, 9, anatomy.THIGH), (11, 12, anatomy.THIGH), (9, 10, anatomy.SHANK), (12, 13, anatomy.SHANK),
        (2, 5, 2 * anatomy.HALF_SHOULDERS), (1, 8, anatomy.SPINE), (1, 11, anatomy.SPINE),
        (16, 17, 2 * anatomy.LEFT_EAR[0]),
    )  # fmt: skip
    guesses = [math.dist(a, b) / length for i, j, length in bones if (a := body[i]) and (b := body[j])]
    if not guesses:
        return min(size) * 0.8
    return sorted(guesses)[-2:][0]


def _turn(body: list[_XY | None], unit: float) -> float:
    right, left = body[skeleton.R_HIP] or body[skeleton.R_SHOULDER], body[skeleton.L_HIP] or body[skeleton.L_SHOULDER]
    nose, neck = body[skeleton.NOSE], body[skeleton.NECK]
    if not (right and left and nose and neck):
        return 0.0
    full = 2 * (anatomy.HALF_HIPS if body[skeleton.R_HIP] else anatomy.HALF_SHOULDERS) * unit
    to_left, ahead = left[0] - right[0], nose[0] - neck[0]
    hips = [p for i in (skeleton.R_HIP, skeleton.L_HIP) if (p := body[i])]
    spine = _between(hips[0], hips[-1], 0.5) if hips else neck
    down, aside = spine[1] - neck[1], spine[0] - neck[0]
    if abs(aside) > 2 * abs(down):  # lying: what is across the body runs up the picture
        sign = math.copysign(1.0, aside)
        ears = [p for i in (skeleton.R_EAR, skeleton.L_EAR) if (p := body[i])]
        to_left, ahead = sign * (right[1] - left[1]), sign * ((ears[0] if ears else neck)[1] - nose[1])
    across = max(-1.0, min(1.0, to_left / full))
    return math.copysign(math.sqrt(1 - across * across), ahead)


def _between(a: _XY, b: _XY, share: float) -> _XY:
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share
