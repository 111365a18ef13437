"""What a few callers feel who ask a server for scores, and the table of it.

Each caller sends its next row when it has its answer (a closed loop). How long features and model
took says the server, in `timing_us` of each reply; how long the whole took says the caller's clock.
"""

import collections
import http.client
import json
import math
import queue
import sys
import threading
import time

CALLERS = 2

# Milliseconds in which an answer must come: the system of the story had no such bound.
DEADLINE_MS = 5_000

# Seconds that a server may take until nothing that it answers is behind the stream.
FRESH_S = 30

# Values that a model should not be given for those of its training.
DOUBTFUL = {"STALE", "UNKNOWN"}


class Measured:
    """Milliseconds of each request by stage, and what was answered."""

    def __init__(self):
        self.stages = {"retrieval": [], "inference": [], "end to end": []}
        self.answers = {}
        self.sources = collections.Counter()
        self.doubtful = 0

    def take(self, row, reply, took_s):
        times = reply["timing_us"]
        for stage in ("retrieval", "inference"):
            self.stages[stage].append(int(times[stage]) / 1e3)
        self.stages["end to end"].append(took_s * 1e3)
        (answer,) = reply["rows"]
        self.answers[row["transaction_id"]] = (answer["features"], answer["score"])
        self.sources.update(answer["sources"].values())
        self.doubtful += answer["status"] in DOUBTFUL

    def requests(self):
        return len(self.stages["retrieval"])

    def percentile(self, stage, percent):
        """The least of the times that so many of a hundred do not exceed."""
        times = sorted(self.stages[stage])
        return times[math.ceil(len(times) * percent / 100) - 1]


class Caller:
    """A connection to a server that scores."""

    def __init__(self, address):
        self.connection = http.client.HTTPConnection(address, timeout=2 * DEADLINE_MS / 1e3)

    def ask(self, row):
        """The reply, its numbers as they are written, and how many seconds it took."""
        body = json.dumps({"rows": [row], "deadline_ms": DEADLINE_MS})
        began = time.perf_counter()
        headers = {"Content-Type": "application/json"}
        self.connection.request("POST", "/v1/score/fraud", body, headers)
        reply = self.connection.getresponse()
        text = reply.read()
        took_s = time.perf_counter() - began
        if reply.status != 200:
            raise RuntimeError(f"{reply.status}: {text.decode()}")
        return json.loads(text, parse_float=str, parse_int=str), took_s


def wait_until_fresh(address, row):
    """Asks until the answer is not behind the stream; gives it."""
    caller, end = Caller(address), time.monotonic() + FRESH_S
    while True:
        reply, _ = caller.ask(row)
        if reply["rows"][0]["status"] not in DOUBTFUL:
            return reply
        if time.monotonic() > end:
            sys.exit(f"after {FRESH_S} s the answer is still {reply}")
        time.sleep(0.1)


def measure(address, rows, rounds):
    """Asks for all rows, so many times each."""
    left, measured, failures = queue.SimpleQueue(), Measured(), []
    for row in rows * rounds:
        left.put(row)

    def call():
        caller = Caller(address)
        try:
            while True:
                row = left.get_nowait()
                measured.take(row, *caller.ask(row))
        except queue.Empty:
            pass
        except Exception as failure:
            failures.append(failure)

    callers = [threading.Thread(target=call) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    if failures:
        sys.exit(f"a request failed: {failures[0]}")
    return measured


def table(measured):
    """Milliseconds by environment, each stage apart."""
    stages = ["retrieval", "inference", "end to end"]
    lines = [
        " " * 22 + "".join(f"{stage + ', ms':>22}" for stage in stages),
        f"{'':22}" + f"{'p50':>12}{'p99':>10}" * 3 + f"{'requests':>10}  answered by",
    ]
    for name, of in measured.items():
        times = [of.percentile(stage, percent) for stage in stages for percent in (50, 99)]
        times = "".join(f"{ms:{width}.2f}" for ms, width in zip(times, [12, 10] * 3))
        sources = ", ".join(sorted(of.sources))
        lines.append(f"{name:22}{times}{of.requests():>10,}  {sources}")
    return "\n".join(lines)
