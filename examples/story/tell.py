"""How the story is printed: on standard output, as it goes on."""

import contextlib
import time


def heading(text):
    print(f"\n== {text}\n", flush=True)


def say(*lines):
    print("\n".join(lines), flush=True)


@contextlib.contextmanager
def work(what):
    """Says what is done, and how long it took."""
    print(f"{what} ...", end=" ", flush=True)
    began = time.monotonic()
    yield
    print(f"{time.monotonic() - began:.0f} s", flush=True)
