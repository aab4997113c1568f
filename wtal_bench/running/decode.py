"""Test videos through the network and the decoder: one after the other, or decoded by processes beside the network.

Decoding is numpy and takes as long as the network or longer; while it runs in other processes the device goes on with
the next videos. Each video is decoded by itself, so who does it changes no bit.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from wtal_bench.errors import WtalError
from wtal_bench.interfaces import VideoOutputs
from wtal_bench.modeling.model import Decoding, Model, Prediction
from wtal_bench.structures import VideoMeta

AHEAD = 4
"""Videos a process may have waiting: enough to keep it busy, few enough to hold in memory."""

_decoding: Decoding | None = None


def predictions(model: Model, loader: Iterable[Any], workers: int = 0) -> Iterator[tuple[Any, list[Prediction]]]:
    """Yield every mini-batch with its predictions, in order.

    Args:
        model: in eval mode, on its device.
        loader: gives mini-batches.
        workers: processes that decode; 0 decodes here.

    Raises:
        WtalError: what decoding raises, or that a process died.
    """
    if not workers:
        yield from ((data, model.test_step(data)) for data in loader)
        return
    # a forked child of a process that uses a GPU, or threads, may hang
    context = multiprocessing.get_context("spawn")
    waiting: deque[tuple[Any, list[Future]]] = deque()
    with ProcessPoolExecutor(workers, context, _begin, (model.decoding(),)) as pool:
        try:
            for data in loader:
                batch = model.data_preprocessor(data)["batch"]
                waiting.append((data, [pool.submit(_decode, *video) for video in model.video_outputs(batch)]))
                while sum(len(videos) for _, videos in waiting) > AHEAD * workers:
                    yield _done(*waiting.popleft())
            while waiting:
                yield _done(*waiting.popleft())
        except BrokenProcessPool as error:
            raise WtalError(
                "a process that decodes test videos died, as for want of memory; take fewer (runtime.decode_workers), "
                "or 0 to decode in the main process."
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _done(data: Any, videos: list[Future]) -> tuple[Any, list[Prediction]]:
    return data, [video.result() for video in videos]


def _begin(decoding: Decoding) -> None:
    global _decoding
    _decoding = decoding


def _decode(outputs: VideoOutputs, meta: VideoMeta) -> Prediction:
    return _decoding(outputs, meta)
