"""Several asynchronous iterators as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

T = TypeVar("T")


async def merged(iterators: Sequence[AsyncIterator[T]]) -> AsyncIterator[tuple[int, T]]:
    """Yield (number of the iterator, item) as items come; all are closed when this one is.

    What one raises is raised here.
    """
    items: asyncio.Queue[tuple[int, T] | BaseException | None] = asyncio.Queue()

    async def read(number: int, iterator: AsyncIterator[T]) -> None:
        try:
            async for item in iterator:
                await items.put((number, item))
            await items.put(None)
        except Exception as error:
            await items.put(error)

    tasks = [asyncio.create_task(read(number, one)) for number, one in enumerate(iterators)]
    try:
        left = len(tasks)
        while left:
            item = await items.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                left -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
