"""A conversation from a script: the words as they come, an answer in full, one that is left early.

    python examples/chat_with_the_agent.py "What is new?"

The gateway and its credentials come from GWSYNC_URL and GWSYNC_TOKEN, or OpenClaw's own config.
"""

import sys

import gwsync


def main(question: str) -> None:
    # 1. Words as they come. A lost connection is made anew, and nothing is said twice.
    for words in gwsync.chat(question):
        print(words, end="", flush=True)
    print()

    # 2. The whole answer, with what it cost; RunError if the run failed.
    try:
        result = gwsync.chat("Say it again, shorter.", session="main", timeout=300).result()
        print(f"{len(result.text)} characters, {result.usage}")
    except gwsync.RunError as error:
        print(f"the model failed: {error.message} {dict(error.detail)}")

    # 3. Enough: leaving the block aborts the run, and so does Ctrl-C inside it.
    with gwsync.chat("Count to a thousand.") as run:
        for words in run:
            print(words, end="", flush=True)
            if len(run.so_far) > 20:
                break
    print(f" ... aborted: {run.aborted}")


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or "What is new?")
