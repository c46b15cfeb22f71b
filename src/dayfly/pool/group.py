"""All instances of one revision: who takes the next call, who waits, when one more is started.

A call takes the instance that was used last (the others can fall idle and go). With none free it waits in a first-in-first-out queue,
and one more instance is started for each waiting call that no starting instance will serve, up to the maximum; where calls are very
short, only as many as help (`pressure`). Whichever comes first,
a new instance or a busy one that gets free, serves the head of the queue: where user code takes a second to load, a queue of
10 ms calls is not held up by it.

Of a long queue of short calls, an instance gets a few ahead of their turn (`_send_ahead`): it finds the next one in its socket when
it has answered, instead of falling asleep and being woken for it, which takes the kernel longer than such a call. It still runs one at
a time, in order. What was sent ahead has not begun: if the instance ends, it goes back to the front of the queue.

Nothing here awaits: the warm path is a pop, a push and two counters.
"""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import TYPE_CHECKING, Final, Protocol

from ..errors import DayflyError, InitFailed, InstanceDied, Throttled, Unavailable
from ..model.function import Isolation, Revision
from ..model.instance import State
from ..sandbox.port import Exit
from ..scaler.windows import ConcurrencyIntegral
from .choose import FreeSlots, Verdict, admit, expected_wait
from .crashes import Crashes
from .instance import Instance
from .pressure import Pressure

if TYPE_CHECKING:
    from .pool import Pool

# Python 3.11 takes a detour to the member of an enumeration; on the warm path that adds up.
STARTING: Final = State.STARTING
IDLE: Final = State.IDLE
BUSY: Final = State.BUSY
DRAINING: Final = State.DRAINING
STOPPED: Final = State.STOPPED

FORSAKEN: Final = 64  # waiters that have given up and are kept in the queue without a look at how many they are


class Waiter(Protocol):
    """A call in the queue."""

    done: bool  # given up meanwhile: skipped

    @property
    def light(self) -> bool:
        """Whether it may be sent ahead: the last three are for those alone."""
        return False

    def assigned(self, instance: Instance) -> None:
        """It begins on this instance."""

    def refused(self, error: DayflyError) -> None: ...

    def sent_ahead(self, instance: Instance) -> None:
        """It is the instance's, which will begin it after those before it; `begun` or `taken_back` follows."""
        return

    def begun(self) -> None:
        """The instance has answered those before it."""
        return

    def taken_back(self) -> None:
        """The instance ended before; it is in the queue again."""
        return


class Group:
    """The instances of one revision, and the calls that wait for one."""

    def __init__(self, pool: Pool, revision: Revision) -> None:
        self.pool = pool
        self.revision = revision
        self.config = revision.config
        self.once = revision.config.isolation is Isolation.PER_INVOCATION  # an instance takes one call and ends
        self.free: FreeSlots[Instance] = FreeSlots(revision.config.concurrency)
        self.instances: dict[str, Instance] = {}
        self.waiting: deque[Waiter] = deque()
        self.gave_up = 0  # waiters in the queue that are done already
        self.starting = 0
        self.taken = 0  # of those that start, how many have their call already
        self._monotonic = pool.clock.monotonic
        self.load = ConcurrencyIntegral(self._monotonic())
        self.service_s = 0.0  # moving average of what a call takes
        self.cold_cost_s = 0.0  # moving average of what a cold start takes, user's init included
        self.pressure = Pressure(self)
        self.crashes = Crashes()
        self.reachable = True  # by traffic, tag or alias; others serve calls by number, and keep no reserve

    # --- the warm path ----------------------------------------------------------------------------------------

    def acquire(self, waiter: Waiter) -> Instance | None:
        """An instance for this call now, or None: then the waiter is in the queue and will be told.

        Raises Throttled when the queue is full, Unavailable when nothing can ever serve it.
        """
        instance = self._take() if not self.waiting else None
        if instance is None:
            self._queue(waiter)
            return None
        self.load.add(1, instance.since)
        if self.once:
            self._start_next()
        return instance

    def _take(self) -> Instance | None:
        """A slot for a call that begins now; None when there is none."""
        instance = self.free.take()
        if instance is not None:
            instance.inflight += 1
            if instance.inflight == 1:
                instance.move(BUSY)
                if instance.frozen:
                    self.pool.frost.thaw(instance)
            instance.since = self._monotonic()
            instance.follows = False
        return instance

    def _queue(self, waiter: Waiter) -> None:
        waiting = len(self.waiting) - self.gave_up
        limits = self.pool.limits
        watched = self.pressure.watching and self.serving  # then nothing is started for one more that waits
        soon = (waiting + 1) * self.service_s <= limits.queue_timeout_s  # with one slot alone
        if not watched or waiting >= limits.queue_per_function or not soon:
            self._admit(waiting)
        self.waiting.append(waiter)
        self.load.add(1, self._monotonic())
        if not watched:
            self.start_for_waiting()

    def _admit(self, waiting: int) -> None:
        """Raises Throttled or Unavailable if one more call may not wait."""
        wait = expected_wait(waiting=waiting, slots=len(self.instances) * self.config.concurrency, service_s=self.service_s)
        alive = len(self.instances) - self.starting
        limits = self.pool.limits
        verdict = admit(
            free=0,
            alive=alive,
            starting=self.starting,
            waiting=waiting,
            max_instances=self.config.max_instances,
            queue_limit=limits.queue_per_function,
            concurrency=self.config.concurrency,
            room=self.pool.instances < limits.instances,
            wait_s=wait if self.instances else 0.0,
            deadline_s=limits.queue_timeout_s,
        )
        if not verdict.rejected:
            return
        name = f"{self.revision.namespace}/{self.revision.function}"
        counts = f"{alive} instances run, {self.starting} are starting, {waiting} calls wait"
        if verdict is Verdict.LIMITED:
            raise Throttled(
                f"{name}: {verdict.value} ({counts})",
                hint="Call again after the time in Retry-After, or raise --max or --concurrency of the function.",
                retry_after=max(1.0, self.service_s),
            )
        raise Unavailable(
            f"{name}: {verdict.value} ({counts})",
            hint="Call again after the time in Retry-After.",
            retry_after=min(30.0, max(1.0, wait)),
        )

    def release(self, instance: Instance, run_s: float = 0.0, cpu_us: int = 0) -> None:
        """A call on this instance has ended after `run_s` seconds, `cpu_us` of them computing; give its slot to the next."""
        now = self._monotonic()
        if run_s:
            self.service_s += 0.1 * (run_s - self.service_s)
            self.pressure.ended(run_s, instance.follows, cpu_us)
            self.crashes.number = 0
        self.load.add(-1, now)
        if instance.ahead:
            self._moves_on(instance, now)
            return
        if instance.state is STOPPED:
            return
        instance.inflight -= 1
        if instance.state is DRAINING or self.once:
            if instance.inflight == 0:
                self.pool.stop(instance)
                self.start_for_waiting()  # its place under the maximum is free now
                if self.once and self.reachable:
                    self._start_next()
            return
        if self.waiting:
            waiter = self._next()
            if waiter is not None:
                instance.inflight += 1
                instance.since = now
                instance.follows = False
                waiter.assigned(instance)
                self._send_ahead(instance)
                return
        self.free.give(instance)
        instance.used = self.pool.evictor.clock
        if instance.inflight == 0:
            instance.idle_since = now
            instance.move(IDLE)
            if instance.freezes and not instance.watched:
                self.pool.frost.watch(instance)

    def moves_on(self, instance: Instance) -> None:
        """It has answered, and so begun the next call that was sent ahead, if there is one."""
        if instance.ahead:
            self._moves_on(instance, self._monotonic())

    def _moves_on(self, instance: Instance, now: float) -> None:
        waiter = instance.ahead.popleft()
        if waiter.done:  # given up before it began, and nobody else can stop it now
            self.kill(instance)
            self.start_for_waiting()
            return
        instance.since = now
        instance.follows = True
        waiter.begun()
        if instance.state is BUSY:
            self._send_ahead(instance)

    def _send_ahead(self, instance: Instance) -> None:
        """Calls that each instance would find in the queue anyway, once it is free."""
        waiting, ahead = self.waiting, instance.ahead
        if not waiting or not self.pressure.steady:
            return
        while len(ahead) < instance.room_ahead and len(waiting) - self.gave_up > len(self.instances):
            if waiting[0].done:
                waiting.popleft()
                self.gave_up -= 1
            elif not waiting[0].light:
                return
            else:
                waiter = waiting.popleft()
                ahead.append(waiter)
                waiter.sent_ahead(instance)

    def _take_back(self, instance: Instance) -> None:
        """The instance is gone: what it had not begun waits in front of all others."""
        back = [waiter for waiter in instance.ahead if not waiter.done]
        instance.ahead.clear()
        if not back:
            return
        for waiter in reversed(back):
            waiter.taken_back()
            self.waiting.appendleft(waiter)
        self.pool.groups.setdefault(self.revision.key, self)
        while len(self.free) and (following := self._next()) is not None:
            idle = self._take()
            assert idle is not None
            following.assigned(idle)
        self.start_for_waiting()

    def _next(self) -> Waiter | None:
        while self.waiting:
            waiter = self.waiting.popleft()
            if not waiter.done:
                return waiter
            self.gave_up -= 1
        return None

    def forsake(self) -> None:
        """A waiter in the queue, which is marked done by now, has given up; it stays there until its turn."""
        self.gave_up += 1
        self.load.add(-1, self._monotonic())
        if self.gave_up > FORSAKEN and self.gave_up * 2 > len(self.waiting):
            self.waiting = deque(waiter for waiter in self.waiting if not waiter.done)
            self.gave_up = 0

    # --- starting and ending ------------------------------------------------------------------------------------

    @property
    def alive(self) -> int:
        """Instances that take calls or soon will."""
        return sum(1 for i in self.instances.values() if i.state is not DRAINING)

    @property
    def serving(self) -> bool:
        """Whether any are alive; the first one mostly is."""
        for instance in self.instances.values():  # noqa: SIM110 - each call that waits asks, and `any` is five times as slow
            if instance.state is not DRAINING:
                return True
        return False

    @property
    def idle(self) -> list[Instance]:
        """Idle instances, the least recently used first."""
        return [instance for instance in self.free if instance.state is IDLE]

    @property
    def busy(self) -> list[Instance]:
        """Instances that are at work and take further calls."""
        return [instance for instance in self.instances.values() if instance.state is BUSY]

    def reserve(self, wanted: int) -> None:
        """Start instances ahead of need until `wanted` are alive (within the maximum and the machine's room)."""
        for _ in range(wanted - self.alive):
            if not self.pool.start(self):
                return

    def _start_next(self) -> None:
        """Where each call gets a fresh instance: have one for the call after this one."""
        if not self.starting and not len(self.free):
            self.pool.start(self)

    def start_for_waiting(self) -> None:
        """Start instances for waiting calls that no starting instance will serve; for short calls, those that help."""
        waiting = len(self.waiting) - self.gave_up
        missing = ceil(waiting / self.config.concurrency) - (self.starting - self.taken)
        if missing > 0 and self.pressure.short:
            missing = 0 if self.serving else 1
            self.pressure.watch()
        self.start(missing)

    def start(self, number: int) -> None:
        """Start so many instances, as far as there is room. Who waits while there is no instance at all and no room, is refused."""
        for _ in range(number):
            if not self.pool.start(self):
                if not self.instances:
                    self._refuse_all(
                        self.pool.refusal
                        or Unavailable(
                            "no room for one more instance: this machine's memory or instance limit is reached",
                            hint="Try again later, or give the server more room (see: dayfly status).",
                            retry_after=1.0,
                        )
                    )
                return

    def start_with(self, waiter: Waiter, load_s: float) -> bool:
        """Start an instance that has this call from the start, and `load_s` seconds to load. False: there is no room."""
        instance = self.pool.start(self, load_s=load_s)
        if instance is None:
            return False
        instance.inflight = 1
        self.taken += 1
        self.load.add(1, self._monotonic())
        waiter.assigned(instance)
        return True

    def on_ready(self, instance: Instance) -> None:
        """User code is loaded: serve as many waiting calls as it has slots."""
        if instance.state is not STARTING:
            return
        now = self._monotonic()
        self._no_longer_starting(instance)
        instance.ready_mono = now
        took = now - instance.created_mono
        self.cold_cost_s = took if not self.cold_cost_s else 0.7 * self.cold_cost_s + 0.3 * took
        self.pressure.judge()
        instance.idle_since = now
        if instance.inflight:
            instance.move(BUSY)
        while instance.inflight < instance.slots:
            waiter = self._next()
            if waiter is None:
                break
            instance.inflight += 1
            instance.since = now
            if instance.state is STARTING:
                instance.move(BUSY)
            waiter.assigned(instance)
        if instance.inflight == 0:
            instance.move(IDLE)
            if instance.freezes:
                self.pool.frost.watch(instance)
        if instance.inflight < instance.slots:
            self.free.add(instance, instance.slots - instance.inflight)
        elif self.once:
            self._start_next()

    def on_exit(self, instance: Instance, exit: Exit) -> None:
        """The instance is gone. If it never got ready, the call it was started for learns why."""
        was = instance.state
        if was is STOPPED:  # it was told to go
            self._take_back(instance)
            return
        instance.state = STOPPED
        self.instances.pop(instance.id, None)
        self.free.discard(instance)
        self.crashes.add(self._monotonic())
        if was is STARTING:
            self._no_longer_starting(instance)
            error = exit.error or InstanceDied("the instance ended before it was ready")
            error.instance = instance.id
            self._fail(error)
        self.pool.gone(instance)
        self._take_back(instance)
        if was is not STARTING or not isinstance(exit.error, InitFailed):
            self.start_for_waiting()

    def _no_longer_starting(self, instance: Instance) -> None:
        self.starting -= 1
        self.taken -= instance.inflight
        self.pool.started(instance)

    def _fail(self, error: DayflyError) -> None:
        """A start has failed: broken code fails everybody who waits for it, a lost instance only the first."""
        if isinstance(error, InitFailed) and not self.instances:
            self._refuse_all(error)
        else:
            self._refuse_next(error)

    def _refuse_all(self, error: DayflyError) -> None:
        while self._refuse_next(error):
            pass

    def _refuse_next(self, error: DayflyError) -> bool:
        """Tell the head of the queue; False if nobody waits."""
        waiter = self._next()
        if waiter is None:
            return False
        self.load.add(-1, self._monotonic())
        waiter.refused(error)
        return True

    def retire(self, instance: Instance) -> None:
        """Take no new call; end now if idle, else with the last call."""
        self.free.discard(instance)
        if instance.state is IDLE:
            self.pool.stop(instance)
        elif instance.state is BUSY:
            instance.move(DRAINING)
        elif instance.state is STARTING:
            self.kill(instance)

    def kill(self, instance: Instance) -> None:
        """End it now, whatever it is doing (a call that ran out of time took it hostage)."""
        self.free.discard(instance)
        if instance.state is STARTING:
            self._no_longer_starting(instance)
        if instance.state is not STOPPED:
            self.pool.stop(instance)

    def reach(self, reachable: bool) -> None:
        """Traffic has come to this revision, or left it: have the reserve, or retire every instance."""
        self.reachable = reachable
        if reachable:
            self.reserve(self.config.min_instances)
        else:
            self.recycle()
            self.pool.forget(self)

    def recycle(self) -> int:
        """Retire every instance of now; the next call is cold. Returns how many."""
        instances = list(self.instances.values())
        for instance in instances:
            self.retire(instance)
        self.start_for_waiting()
        return len(instances)
