"""A board of the gateway's sessions that keeps itself up to date; Ctrl-C ends it.

``--once`` prints the first one only. Run it with GWSYNC_URL and GWSYNC_TOKEN set.
"""

import sys

import gwsync

gwsync.sessions.create("board-example", label="made by an example")

with gwsync.sessions.watch() as changes:
    for change in changes:
        row = change.row
        print(f"{change.kind:<8} {row.name:<24} {row.status or 'idle':<8} {row.title}")
        if "--once" in sys.argv and row.name == "board-example":
            break
