"""Customers who order, cancel, look and listen at random while the service is being broken.

Each order carries words that no other order has, so that the database itself can tell how often it was taken.
"""

import random
import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from chaos_client import Ear, Rest, Unanswered
from chaos_ground import APP, Ground, GroundLost
from chaos_notes import Notes
from chaos_plan import Plan

from posegen import ledger
from posegen.accounts import user_by_email
from posegen.database import database_now

PASSWORD = "correct horse battery staple"
CREDITS = 100_000_000
GENERATE = f"{APP}/generate"
SIZE_PX = 128
STEPS = 8


@dataclass(slots=True, kw_only=True)
class Sent:
    """One order as its customer knows it. No generation: never answered, or refused."""

    words: str
    pictures: int
    status: int = 0
    generation_id: str | None = None
    charged: int = 0
    cancelled: bool = False
    answers: list[str] = field(default_factory=list)


class Customer(threading.Thread):
    """One customer. `begin` before `start`; ends its random walk when `closing` is set."""

    def __init__(self, number: int, ground: Ground, notes: Notes, closing: threading.Event) -> None:
        super().__init__(name=f"customer-{number}", daemon=True)
        self.number = number
        self.email = f"customer-{number}@example.com"
        self.rest = Rest(ground.url, self.name, notes)
        self.sent: list[Sent] = []
        self.ear: Ear | None = None
        self.id = ""
        self.ground = ground
        self._notes = notes
        self._closing = closing
        self._plan: Plan = ground.plan
        self._random = random.Random(f"{ground.plan.seed}:{number}")
        self._project = ""
        self._poses: list[str] = []
        self._twins = ThreadPoolExecutor(2, thread_name_prefix=f"twin-{number}")

    def begin(self) -> None:
        """Register, get credits, make a project, listen. Raises GroundLost."""
        made = self._must("POST", "/api/auth/register", {"email": self.email, "password": PASSWORD})
        self.id = made["data"]["user"]["id"]
        token = made["data"]["token"]
        self.rest.log_in(token)
        with self.ground.database.writing() as session:
            user = user_by_email(session, self.email)
            ledger.grant(session, user.id, CREDITS, description="for chaos", now=database_now(session))
        wanted = {"projectName": "Chaos", "avatarSource": "UPLOAD", "avatarImageUrl": "/me.png"}
        self._project = self._must("POST", f"{APP}/projects", wanted)["project"]["id"]
        self._poses = [pose["id"] for pose in self._must("GET", f"{APP}/library?limit=20")["poses"]]
        self.ear = Ear(self.ground.url, token, self.name, self._notes)
        self.ear.start()

    def run(self) -> None:
        """Walk at random until told to close. What goes wrong here is a fault of the run, and is noted as one."""
        try:
            while not self._closing.is_set():
                self._do_something()
                self._closing.wait(self._random.expovariate(1 / self._plan.think_s))
        except Exception as error:
            self._notes.add("customer_broke", customer=self.name, error=repr(error))
            raise

    @property
    def taken(self) -> int:
        """How many of its orders were answered with a generation."""
        return sum(sent.generation_id is not None for sent in list(self.sent))

    def order(self, pictures: int | None = None) -> Sent:
        """Place one order, whatever it takes; sometimes twice at once, as a double click does."""
        poses, variations = self._random.randint(1, 3), self._random.randint(1, 2)
        if pictures is not None:
            poses, variations = max(1, pictures // 6), min(6, pictures)
        words = f"order {len(self.sent) + 1} of customer {self.number}, in soft light"
        sent = Sent(words=words, pictures=poses * variations)
        self.sent.append(sent)
        body = {
            "projectId": self._project,
            "generationType": "GALLERY_REFERENCE",
            "selectedPoseIds": self._random.sample(self._poses, poses),
            "batchSize": variations,
            "textPrompt": words,
            "width": SIZE_PX,
            "height": SIZE_PX,
            "steps": STEPS,
        }
        key = str(uuid.UUID(int=self._random.getrandbits(128)))
        clicks = 2 if self._random.random() < 0.1 else 1
        asked = [self._twins.submit(self.rest.insist, "POST", GENERATE, body=body, key=key) for _ in range(clicks)]
        for answer in asked:
            try:
                status, told = answer.result()
            except Unanswered:
                continue
            sent.status = status
            if status == 202:
                sent.generation_id, sent.charged = told["generationId"], told["creditCharged"]
                sent.answers.append(f"{told['generationId']} {told['creditCharged']} {told['totalPosesExpected']}")
            else:
                self._notes.add("order_refused", customer=self.name, status=status, answer=told)
        return sent

    def close(self) -> None:
        """Hang up everywhere."""
        if self.ear is not None:
            self.ear.end()
        self._twins.shutdown(wait=False, cancel_futures=True)
        self.rest.close()

    def _do_something(self) -> None:
        choice = self._random.random()
        if choice < 0.6:
            self.order()
        elif choice < 0.75:
            self.cancel()
        elif choice < 0.82:
            self.rest.call("PUT", f"{APP}/projects/{self._project}", body={"projectName": f"Chaos {len(self.sent)}"})
        else:
            self._look()

    def cancel(self) -> None:
        """Stop one of its last generations, if it has any left."""
        known = [sent for sent in self.sent[-6:] if sent.generation_id and not sent.cancelled]
        if not known:
            return
        sent = self._random.choice(known)
        try:
            status, told = self.rest.insist("POST", f"{APP}/generations/{sent.generation_id}/cancel", body={})
        except Unanswered:
            return
        if status == 200:
            sent.cancelled = told["generation"]["status"] == "cancelled"

    def _look(self) -> None:
        known = [sent for sent in self.sent if sent.generation_id]
        paths = [f"{APP}/credits", f"{APP}/generations?limit=20", "/api/credits/history", f"{APP}/health"]
        if known:
            paths.append(f"{APP}/generations/{self._random.choice(known).generation_id}/results")
        status, told = self.rest.call("GET", self._random.choice(paths))
        if status == 200 and isinstance(told, dict) and told.get("results"):
            shown = self._random.choice(told["results"])
            if shown["outputImageUrl"]:
                self.rest.call("GET", shown["outputImageUrl"])

    def _must(self, method: str, path: str, body: object = None) -> Any:
        status, answer = self.rest.insist(method, path, body=body)
        if status >= 300:
            raise GroundLost(f"{method} {path} was answered {status}: {answer}")
        return answer


def begin_all(ground: Ground, notes: Notes, closing: threading.Event) -> Sequence[Customer]:
    """Make the customers, ready to start. The first is the feeder: it orders when the run wants work to be waiting."""
    customers = [Customer(number, ground, notes, closing) for number in range(ground.plan.customers + 1)]
    for customer in customers:
        customer.begin()
    return customers
