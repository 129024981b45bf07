"""The thread that decodes: it consumes requests and orders, produces tokens, and sleeps when it has neither.

    submit(request) --> waiting --> batch --step, step, ...--> request.future
    between_steps(order) ---------> run by the thread before its next step

Nothing else touches the model while the thread runs. Requests beyond `max_num_seqs` wait in order.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

from actors.engine.decode_batch import DecodeBatch, Request
from common.errors import EngineDead, EngineFault


@dataclass(eq=False)
class Order:
    """Something to do with the model while no step is running."""

    act: Callable[[], None]
    future: Future[None] = field(default_factory=Future)

    def run(self) -> None:
        """Do it, unless it was cancelled meanwhile; what it raises goes to whoever waits."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.act()
        except (RuntimeError, ValueError, OSError) as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(None)


class DecodeThread:
    """Runs a `DecodeBatch` until it is stopped; whoever still waits then gets an EngineFault.

    When a step raises, the thread is gone for good and the fault is an EngineDead.
    """

    def __init__(self, batch: DecodeBatch, max_num_seqs: int, prepare: Callable[[], None]) -> None:
        self.policy_version = 0
        """The version that labels what is sampled from now on; changed only by orders."""
        self._batch = batch
        self._max_num_seqs = max_num_seqs
        self._prepare = prepare
        self._waiting: deque[Request] = deque()
        self._orders: deque[Order] = deque()
        self._changed = threading.Condition()
        self._is_stopped = False
        self._end: EngineFault = EngineFault("the transformers engine is not running")
        self._thread = threading.Thread(target=self._run, name="decode", daemon=True)

    def start(self) -> None:
        """Begin to decode."""
        self._thread.start()

    def submit(self, request: Request) -> None:
        """Put a request at the end of the queue; EngineFault when the thread has ended."""
        with self._accepting():
            self._waiting.append(request)

    def between_steps(self, act: Callable[[], None]) -> Future[None]:
        """Run `act` while no step is running; EngineFault when the thread has ended."""
        order = Order(act)
        with self._accepting():
            self._orders.append(order)
        return order.future

    def stop(self) -> None:
        """End after the step that is running, and wait for it."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify()
        self._thread.join()

    @contextmanager
    def _accepting(self) -> Iterator[None]:
        """Let the body add work, and wake the thread."""
        with self._changed:
            if self._is_stopped:
                raise self._end
            yield
            self._changed.notify()

    def _run(self) -> None:
        self._prepare()
        try:
            while self._wait_for_work():
                for order in self._take_orders():
                    order.run()
                self._admit()
                if self._batch.requests:
                    self._batch.step(self.policy_version)
                    self._complete()
        finally:
            self._abandon()

    def _wait_for_work(self) -> bool:
        """Sleep until there is something to do; False when it is time to end."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_stopped or self._orders or self._waiting or self._batch.requests
            )
            return not self._is_stopped

    def _take_orders(self) -> list[Order]:
        with self._changed:
            orders = list(self._orders)
            self._orders.clear()
            return orders

    def _admit(self) -> None:
        """Drop requests that nobody wants any more and fill the places with those that wait."""
        requests = [request for request in self._batch.requests if not request.future.cancelled()]
        with self._changed:
            while self._waiting and len(requests) < self._max_num_seqs:
                request = self._waiting.popleft()
                if not request.future.cancelled():
                    requests.append(request)
        self._batch.replace(requests)

    def _complete(self) -> None:
        """Hand out the actions that are complete."""
        for request in self._batch.requests:
            if request.is_complete and request.future.set_running_or_notify_cancel():
                request.future.set_result(request)
        self._batch.replace([request for request in self._batch.requests if not request.is_complete])

    def _abandon(self) -> None:
        """Tell everybody who waits that nothing will come."""
        with self._changed:
            end = EngineFault("the transformers engine has stopped")
            if not self._is_stopped:
                self._end = end = EngineDead("the decoding thread of the transformers engine died")
            self._is_stopped = True
            left: list[Request | Order] = [*self._batch.requests, *self._waiting, *self._orders]
        for item in left:
            if item.future.set_running_or_notify_cancel():
                item.future.set_exception(end)
