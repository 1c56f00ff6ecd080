"""Threads that call one program of one thread side by side: calls a second, and how long they take.

    TINYGRAPH_THREADS=1 python benchmarks/callers.py [--seconds 4] [--callers 1 2 4 8]

Twice the rate of a single caller is the most that two processors can give. Of what runs at a
real-time priority (``chrt``) Linux stops whoever leaves nothing to others for 50 ms of each second,
as the 99th percentile shows; ``--pause`` leaves a little.
"""

from __future__ import annotations

import argparse
import threading
import time

import numpy as np

import tinygraph as tg


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--pause", type=float, default=0.0, help="of each caller, milliseconds")
    arguments = parser.parse_args()
    tg.settings.threads = 1
    x = tg.input("image", 1, 3, 224, 224)
    predict = tg.compile([x], [tg.models.googlenet(auxiliary=False)(x)])
    image = np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)
    predict(image)
    single = 0.0
    for count in arguments.callers:
        times = side_by_side(
            lambda: predict(image), count, arguments.seconds, arguments.pause / 1e3
        )
        rate = len(times) / arguments.seconds
        single = single or rate / arguments.callers[0]
        median, late = np.percentile(times, (50, 99))
        print(
            f"{count} callers: {rate:6.1f} calls/s, {rate / single:.2f} of one caller's; "
            f"median {1e3 * median:.1f} ms, 99th percentile {1e3 * late:.1f} ms, "
            f"{late / median:.2f} times the median",
            flush=True,
        )


def side_by_side(call, count: int, seconds: float, pause: float) -> list[float]:
    """Seconds of each call that threads make for so long."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    def work() -> None:
        while (start := time.perf_counter()) < end:
            call()
            times.append(time.perf_counter() - start)
            if pause:
                time.sleep(pause)

    threads = [threading.Thread(target=work) for _ in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return times


if __name__ == "__main__":
    main()
