"""An event loop of one's own, for what is asynchronous behind a synchronous episode.

    loop = PrivateLoop()
    answer = loop.run(ask())
    loop.close()

It runs in a thread, so that it may be used from inside another event loop, and begins with its first use.
"""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


class PrivateLoop:
    """Runs coroutines one caller at a time; after `close` nothing of it is left."""

    def __init__(self) -> None:
        self._thread: Thread | None = None
        self._running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns or raises."""
        return self.begin(work).result()

    def begin(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """The future result of a coroutine that goes on by itself; `close` cancels it."""
        if self._thread is None:
            self._thread = Thread(target=self._main, name="private event loop", daemon=True)
            self._thread.start()
        return asyncio.run_coroutine_threadsafe(work, self._running.result()[0])

    def close(self) -> None:
        """Cancel what still runs and wait for its clean-up; safe to repeat."""
        if self._thread is not None:
            loop, end = self._running.result()
            if self._thread.is_alive():
                loop.call_soon_threadsafe(end.set)
            self._thread.join()

    def _main(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        """asyncio.run cancels, and waits for, whatever is left when this returns."""
        end = asyncio.Event()
        self._running.set_result((asyncio.get_running_loop(), end))
        await end.wait()
