"""The other side, a program of its own: kosoku's fuzzing client.

    python fuzzing_client.py URL AT_A_TIME CASE...

Prints, as JSON, what it says of the server at URL, case by case. Several go at a time, since
most of a case is waiting.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from kosoku import FailureError, run_fuzzingclient

FIELDS = (
    "case_id",
    "passed",
    "result",
    "result_close",
    "remote_close_code",
    "remote_close_reason",
    "local_close_code",
    "local_close_reason",
    "was_clean",
    "closed_by_me",
    "failed_by_me",
    "dropped_by_me",
)


async def main(url: str, at_a_time: int, cases: list[str]) -> None:
    try:
        results: list[Any] = await run_fuzzingclient(url, cases, concurrency=at_a_time)
    except FailureError as failure:
        results = failure.results
    found = [
        {
            **{field: getattr(result, field) for field in FIELDS},
            "behavior": result.behavior.value,
            "behavior_close": result.behavior_close.value,
            "received": repr(result.received),
            "rx_frame_stats": {str(key): n for key, n in result.rx_frame_stats.items()},
        }
        for result in results
    ]
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
