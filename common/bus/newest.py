"""A slot that keeps only the newest value: what a slow reader has missed is of no use to it."""

import asyncio
from typing import Generic, TypeVar

ValueT = TypeVar("ValueT")


class Newest(Generic[ValueT]):
    """The latest value put, handed out once; a value equal to the one last handed out is no news.

    Unlike a queue it never fills and never makes a reader work through what has been superseded.
    """

    def __init__(self) -> None:
        self._value: ValueT | None = None
        self._taken: ValueT | None = None
        self._is_news = asyncio.Event()

    def put(self, value: ValueT) -> None:
        """Replace whatever has not been taken yet."""
        self._value = value
        if value == self._taken:
            self._is_news.clear()
        else:
            self._is_news.set()

    async def take(self) -> ValueT:
        """The newest value that has not been taken; waits for one."""
        await self._is_news.wait()
        self._is_news.clear()
        assert self._value is not None
        self._taken = self._value
        return self._value
