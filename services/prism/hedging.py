"""Asking a second engine where the first is late: the first answer wins, the other request is cancelled at once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


@contextlib.asynccontextmanager
async def hedged(
    first: AbstractAsyncContextManager[T],
    after_s: float,
    second: Callable[[], Awaitable[AbstractAsyncContextManager[T] | None]],
) -> AsyncIterator[T]:
    """What the first of two contexts gives, of which the second is only asked for when the first is late.

    Args:
        first: entered at once.
        after_s: how long it may take before it is late.
        second: makes the other, or None where there is none; called at most once.

    Raises:
        What the one that failed last raised, where none gave anything.
    """
    contenders = [_Contender(first)]
    try:
        if not await contenders[0].has_ended_within(after_s):
            contenders.append(_Contender(_made(second)))  # making it may take long, and the first may answer meanwhile
        winner = await _first_entered(contenders)
        contenders.remove(winner)
        async with winner as given:
            await _leave(contenders)
            yield given
    finally:
        await _leave(contenders)


class _NobodyElse(Exception):
    """There is no second context."""


@contextlib.asynccontextmanager
async def _made(make: Callable[[], Awaitable[AbstractAsyncContextManager[T] | None]]) -> AsyncIterator[T]:
    context = await make()
    if context is None:
        raise _NobodyElse
    async with context as given:
        yield given


class _Contender(Generic[T]):
    """A context that is being entered by a task of its own."""

    def __init__(self, context: AbstractAsyncContextManager[T]) -> None:
        self._context = context
        self.entering = asyncio.ensure_future(context.__aenter__())

    async def has_ended_within(self, seconds: float) -> bool:
        """Whether it is entered, or has failed, by then."""
        return bool((await asyncio.wait((self.entering,), timeout=seconds))[0])

    async def __aenter__(self) -> T:
        return await self.entering

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._context.__aexit__(kind, error, traceback)

    async def leave(self) -> None:
        """Have nothing of it any more."""
        self.entering.cancel()
        await asyncio.wait((self.entering,))
        if not self.entering.cancelled() and self.entering.exception() is None:
            await self._context.__aexit__(None, None, None)


async def _first_entered(contenders: Sequence[_Contender[T]]) -> _Contender[T]:
    entering = {contender.entering: contender for contender in contenders}
    problem: BaseException = _NobodyElse()
    while entering:
        done, _ = await asyncio.wait(entering, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            contender, error = entering.pop(task), task.exception()
            if error is None:
                return contender
            if not isinstance(error, _NobodyElse):
                problem = error
    raise problem


async def _leave(contenders: list[_Contender[T]]) -> None:
    while contenders:
        await contenders[-1].leave()
        contenders.pop()  # not before: whoever is cancelled meanwhile leaves it again
