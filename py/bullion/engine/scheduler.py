"""Who computes what in the next step. No torch here.

Every decoding sequence advances by one token; between two such steps at most `prefill_tokens` of
prompts are computed, oldest request first. What does not fit waits in a queue of bounded length.
When pages run short the youngest decoding sequence is parked: its KV is copied aside, bit by bit,
and comes back before anybody new starts, so parking changes no text.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from bullion.contract.errors import Refusal
from bullion.engine.pages import PagePool
from bullion.engine.sequence import Sequence, Stage


@dataclass(frozen=True)
class Piece:
    """Prompt tokens [start, end) of a sequence; `last` when the prompt is complete with them."""

    sequence: Sequence
    start: int
    end: int
    last: bool


@dataclass
class Plan:
    """Done in this order: park, restore, pieces, decode."""

    park: list[tuple[Sequence, list[int]]] = field(default_factory=list)  # with the pages it had
    restore: list[Sequence] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    decode: list[Sequence] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.park or self.restore or self.pieces or self.decode)


class Scheduler:
    """Owns the stages of sequences and, through the pool, their pages."""

    def __init__(
        self, pool: PagePool, max_running: int, max_waiting: int, prefill_tokens: int
    ) -> None:
        self.pool = pool
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._prefill_tokens = prefill_tokens
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []  # oldest first: prefilling or decoding
        self._parked: deque[Sequence] = deque()
        self.parkings = 0  # how often pages ran short, since the start
        self._states = list(range(max_running - 1, -1, -1))

    @property
    def waiting(self) -> int:
        return len(self._waiting) + len(self._parked)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._running or self._parked)

    def add(self, sequences: Iterable[Sequence]) -> None:
        """Queues the choices of one request, all or none. Raises Refusal("queue_full")."""
        fresh = list(sequences)
        queued = max(0, len(self._waiting) - self._room())  # others begin with the next step
        if len(self._waiting) + len(fresh) > self._max_waiting + self._room():
            raise Refusal(
                "queue_full",
                f"Cannot queue {len(fresh)} more where {queued} of {self._max_waiting} places are "
                "taken: try again in a moment",
            )
        self._waiting.extend(fresh)

    def end(self, sequence: Sequence) -> None:
        """Takes a sequence out, wherever it is; its pages and its row are free at once."""
        if sequence.stage is Stage.ENDED:
            return
        if sequence.stage is Stage.WAITING:
            self._waiting.remove(sequence)
        elif sequence.stage is Stage.PARKED:
            self._parked.remove(sequence)
            sequence.parked = None
        else:
            self._running.remove(sequence)
            self._let_go(sequence)
        sequence.stage = Stage.ENDED

    def plan(self) -> Plan:
        """The next step. Assumes that it is carried out: counters move on as if it had been."""
        plan = Plan()
        self._restore(plan)
        self._grow(plan)
        budget = self._prefill_tokens
        for sequence in self._running:
            if sequence.stage is Stage.PREFILL and budget > 0:
                budget -= self._piece(sequence, budget, plan)
        while budget > 0 and not plan.park:
            admitted = self._admit()
            if admitted is None:
                break
            budget -= self._piece(admitted, budget, plan)
        return plan

    def publish(self, sequence: Sequence) -> None:
        """Lets others use the full pages of a sequence whose computation has been launched."""
        for page, key in sequence.unpublished(self.pool.page_tokens):
            self.pool.publish(page, key)

    def _room(self) -> int:
        return max(0, self._max_running - len(self._running) - len(self._parked))

    def _restore(self, plan: Plan) -> None:
        while self._parked and self._room_for_state():
            sequence = self._parked[0]
            if sequence.in_flight:
                return  # its last token is still to come
            growing = sum(s.stage is Stage.DECODE for s in self._running)
            count = self.pool.pages_for(sequence.length)
            if self._running and count + growing > self.pool.available:
                return
            pages = self.pool.allocate(count)
            if pages is None:
                return
            self._parked.popleft()
            self._enter(sequence, pages, Stage.DECODE)
            plan.restore.append(sequence)

    def _grow(self, plan: Plan) -> None:
        """A page more for each decoding sequence that needs one; the youngest make room."""
        for sequence in list(self._running):
            if not sequence.may_decode:
                continue
            need = self.pool.pages_for(sequence.length) - len(sequence.pages)
            pages = self.pool.allocate(need) if need > 0 else []
            while pages is None:
                victim = next(s for s in reversed(self._running) if s.stage is Stage.DECODE)
                self._park(victim, plan)
                if victim is sequence:
                    break
                pages = self.pool.allocate(need)
            if sequence.stage is not Stage.DECODE or pages is None:
                continue
            sequence.pages += pages
            sequence.computed = sequence.length
            plan.decode.append(sequence)
        plan.decode = [s for s in plan.decode if s.stage is Stage.DECODE]
        for sequence in plan.decode:
            sequence.in_flight += 1
            sequence.launched += 1

    def _park(self, sequence: Sequence, plan: Plan) -> None:
        if sequence in plan.decode:  # was planned in this very call: take that back
            sequence.computed -= 1
        kept = sequence.pages[: self.pool.pages_for(sequence.computed)]
        plan.park.append((sequence, kept))
        self._running.remove(sequence)
        self._let_go(sequence)
        sequence.stage = Stage.PARKED
        self.parkings += 1
        self._parked.append(sequence)

    def _admit(self) -> Sequence | None:
        """Moves the oldest waiting sequence that can start into PREFILL."""
        if self._parked or not self._room_for_state():
            return None
        for sequence in self._waiting:
            leader = sequence.leader
            if leader is not None and leader.stage in (Stage.WAITING, Stage.PREFILL):
                continue  # its prompt is being computed: a moment later it can be shared
            return sequence if self._start(sequence) else None
        return None

    def _start(self, sequence: Sequence) -> bool:
        length = sequence.length
        found: list[int] = []
        if not sequence.prompt_logprobs:
            found = self.pool.match(sequence.keys(self.pool.page_tokens, length - 1))
        growing = sum(s.stage is Stage.DECODE for s in self._running)
        need = self.pool.pages_for(length) - len(found)
        fits = not self._running or need + growing <= self.pool.available
        fresh = self.pool.allocate(need) if fits else None
        if fresh is None:
            self.pool.release(found)
            return False
        self._waiting.remove(sequence)
        self._enter(sequence, found + fresh, Stage.PREFILL)
        sequence.cached = sequence.computed = len(found) * self.pool.page_tokens
        return True

    def _piece(self, sequence: Sequence, budget: int, plan: Plan) -> int:
        start = sequence.computed
        end = min(sequence.length, start + budget)
        last = end == sequence.length
        sequence.computed = end
        plan.pieces.append(Piece(sequence, start, end, last))
        if last:
            sequence.stage = Stage.DECODE
            if sequence.max_new > 0:
                sequence.in_flight = sequence.launched = 1
        return end - start

    def _room_for_state(self) -> bool:
        return bool(self._states)

    def _enter(self, sequence: Sequence, pages: list[int], stage: Stage) -> None:
        sequence.pages = pages
        sequence.state = self._states.pop()
        sequence.stage = stage
        self._running.append(sequence)

    def _let_go(self, sequence: Sequence) -> None:
        self.pool.release(sequence.pages)
        self._states.append(sequence.state)
        sequence.pages = []
        sequence.state = -1
