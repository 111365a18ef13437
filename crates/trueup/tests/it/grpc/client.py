"""Calls a server by gRPC, knowing only the service of reflection, and holds each answer to HTTP's.

    client.py mirror ADDRESS URL    every method, with the same rows by both wires; prints what was
                                    compared, as JSON
    client.py token ADDRESS TOKEN   what a server that wants a token says
    client.py crowd ADDRESS CALLS   calls of 1000 rows at one time; prints how many had which code
    client.py watch ADDRESS         prints the health as it changes, to the end
    client.py protoc PROTO OUT      writes the descriptors of a proto
"""

import json
import struct
import sys
import urllib.error
import urllib.request
from pathlib import Path

import grpc

from wire import HEALTH, SERVICE, Client, row_of, word

TEN = "2026-11-24T10:00:00.000000Z"
NULLS = {"id": 900, "at": TEN, "card": 1}
WHOLE = {
    "id": 901, "at": "2026-11-24T09:59:59.123456Z", "card": 1, "big": 2**53 + 1, "ratio": 0.1,
    "amount": "12.50", "name": "a \"b\" \u00e9", "online": True, "day": "2026-11-24", "items": 3,
}
EDGES = {
    "id": -(2**63), "at": TEN, "card": 2**63 - 1, "big": -(2**63), "ratio": 5e-324,
    "amount": "-9999999999.99", "name": "", "online": False, "day": "1969-12-31", "items": 0,
}


class Http:
    def __init__(self, url):
        self.url = url

    def ask(self, path, body=None):
        """The status and the JSON of a reply."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


class Mirror:
    """The same questions by both wires."""

    def __init__(self, address, url):
        self.client, self.http = Client(address), Http(url)
        self.values = self.rows = 0
        self.refused = {}

    def same(self, ours, theirs, place):
        """Equal in type and, where it is a double, in bits."""
        assert type(ours) is type(theirs), (place, ours, theirs)
        if isinstance(ours, dict):
            assert ours.keys() == theirs.keys(), (place, ours, theirs)
            for name in ours:
                self.same(ours[name], theirs[name], (*place, name))
        elif isinstance(ours, list):
            assert len(ours) == len(theirs), (place, ours, theirs)
            for n, (one, other) in enumerate(zip(ours, theirs)):
                self.same(one, other, (*place, n))
        elif isinstance(ours, float):
            assert struct.pack("<d", ours) == struct.pack("<d", theirs), (place, ours, theirs)
        else:
            assert ours == theirs, (place, ours, theirs)
        self.values += "features" in place and not isinstance(ours, (dict, list))

    def features(self, view, body):
        explain = {None: 0, True: 1, "positions": 2}[body.get("explain")]
        reply = self.client.call("GetFeatures", {"view": view, **body, "explain": explain})
        status, told = self.http.ask(f"/v1/features/{view}", body)
        assert status == 200, told
        assert (reply.view, reply.digest) == (told["view"], told["digest"])
        assert reply.timing_us.keys() == told["timing_us"].keys(), (reply, told)
        rows = [row_of(row) for row in reply.rows]
        self.same(rows, told["rows"], (view,))
        self.rows += len(rows)
        return rows

    def score(self, model, body):
        reply = self.client.call("Score", {"model": model, **body})
        status, told = self.http.ask(f"/v1/score/{model}", body)
        assert status == 200, told
        for name in ("model", "version", "view", "digest"):
            assert getattr(reply, name) == told[name], (name, reply, told)
        assert reply.timing_us.keys() == told["timing_us"].keys(), (reply, told)
        stages = dict(reply.timing_us)
        apart = stages.pop("inference"), stages.pop("retrieval")
        stages.pop("log", None)
        # Each is cut to whole microseconds.
        assert abs(apart[1] - sum(stages.values())) <= len(stages), reply.timing_us
        rows = []
        for scored in reply.rows:
            row = {"score": scored.score if scored.HasField("score") else None}
            if scored.HasField("score_reason"):
                row["score_reason"] = scored.score_reason
            rows.append({**row, **row_of(scored.row)})
        self.same(rows, told["rows"], (model,))
        return rows

    def fails(self, name, method, body, path):
        """A call that both wires refuse, in the same words."""
        status, told = self.http.ask(path, {n: v for n, v in body.items() if n not in OURS})
        assert status >= 400, told
        try:
            reply = self.client.call(method, body)
        except grpc.RpcError as error:
            said = dict(error.trailing_metadata())
            assert said["trueup-problem"] == told["type"], (said, told)
            assert len(said["x-request-id"]) == len(told["request_id"]) == 32, (said, told)
            at = f" (in {told['at']})" if "at" in told else ""
            remedy = f"; help: {told['remedy']}" if "remedy" in told else ""
            assert error.details() == told["detail"] + at + remedy, (error.details(), told)
            self.refused[name] = error.code().name
        else:
            raise AssertionError((name, reply))


# Members that HTTP has in its path.
OURS = ("view", "model", "stream")


def history():
    for n in range(1, 6):
        yield {
            "id": n, "at": f"2026-11-24T09:5{n}:00.00000{n}Z", "card": 1, "big": 2**53 + n,
            "ratio": n / 3, "amount": f"{n}.05", "name": f"n{n}", "online": n % 2 == 0,
            "day": f"2026-11-0{n}", "items": n,
        }
    yield {"id": 6, "at": "2026-11-24T09:56:00Z", "card": 1}
    for n in (7, 8):
        yield {"id": n, "at": "2026-11-24T09:00:00Z", "card": 2, "big": 2**63 - 1}


def pushed(mirror):
    """What is pushed by gRPC is what is read by HTTP."""
    events = list(history())
    # A bad one: no number.
    events.insert(1, {"id": 99, "at": TEN, "card": 1, "ratio": float("nan")})
    push = {"stream": "payments", "events": events, "wait_applied": True, "wait_ms": 60_000}
    reply = mirror.client.call("PushEvents", push)
    assert (reply.accepted, reply.applied) == (len(events) - 1, True), reply
    [dead] = reply.dead_letters
    assert (dead.index, dead.column) == (1, "ratio"), dead
    row = mirror.features("risk", {"rows": [NULLS]})[0]["features"]
    last = [event for event in events if event["id"] in (4, 5, 6)]
    for column in ("big", "ratio", "amount", "name"):
        wanted = [event.get(column) for event in last]
        mirror.same(row[column + "s"], [*wanted, None], (column,))
    assert row["n"] == 7, row


def answered(mirror):
    rows = mirror.features("risk", {"rows": [NULLS, WHOLE, EDGES]})
    assert rows[1]["features"]["big"] == 2**53 + 1
    assert rows[1]["features"]["ratio"] == 0.1 and rows[1]["features"]["amount"] == "12.50"
    assert rows[1]["features"]["at"] == WHOLE["at"] and rows[1]["features"]["day"] == WHOLE["day"]
    assert rows[2]["features"]["ratio"] == 5e-324
    clockless = {name: value for name, value in WHOLE.items() if name != "at"}
    assert mirror.features("risk", {"rows": [clockless]})[0]["event_time"] == TEN
    [large] = mirror.features("risk", {"keys": [{"card": 2}], "at": TEN})
    assert large["statuses"]["big_sum"] == "UNKNOWN" and large["defaulted"] == ["big_sum"], large
    [known] = mirror.features("risk", {"keys": [{"card": 1}], "columns": ["n", "amounts"]})
    assert known["features"].keys() == {"n", "amounts"}
    [told] = mirror.features("risk", {"rows": [NULLS], "explain": True})
    assert [frame["counted"] for frame in told["explain"][0]["frames"]], told
    [told] = mirror.features("risk", {"rows": [NULLS], "explain": "positions"})
    assert told["explain"][0]["positions"], told
    [new] = mirror.features("risk", {"keys": [{"card": 77}]})
    assert new["status"] == "NOT_FOUND", new
    many = [{**WHOLE, "id": 1000 + n, "ratio": n / 7, "big": n * 10**15} for n in range(200)]
    mirror.features("risk", {"rows": many, "deadline_ms": 10_000})
    [out] = mirror.features("large", {"rows": [WHOLE]})
    assert out["status"] == "NOT_IN_VIEW", out


def known(mirror):
    """Calls have their callers' ids, or others than all before."""
    method = mirror.client.method(SERVICE, "ListViews")
    call, request = mirror.client.callable(method), mirror.client.message(method, {})
    ids = [("mine-1", "mine-1"), ("a b", None), (None, None)]
    seen = set()
    for given, wanted in ids:
        metadata = [("x-request-id", given)] if given else []
        _, done = call.with_call(request, metadata=metadata)
        told = dict(done.initial_metadata())["x-request-id"]
        assert told == wanted or (wanted is None and len(told) == 32), (given, told)
        seen.add(told)
    assert len(seen) == len(ids), seen


def recorded(mirror):
    """A row that was recorded by gRPC is a repeat by HTTP, which counts nothing."""
    asked = {"rows": [{**WHOLE, "id": 902}], "record": True, "deadline_ms": 10_000}
    [row] = mirror.features("risk", asked)
    assert row["recorded"] == "log" and row["features"]["n"] == 7, row
    ahead = {**WHOLE, "id": 903, "at": "2027-11-24T10:00:00Z"}
    [row] = mirror.features("risk", {**asked, "rows": [ahead]})
    assert row["recorded"] == "no" and row["refused"], row


def scored(mirror):
    [one, none] = mirror.score("integers", {"rows": [WHOLE, NULLS], "deadline_ms": 10_000})
    assert one["score"] == 3.0 and none["score"] is None and "items is NULL" in none["score_reason"]
    [known] = mirror.score("count", {"keys": [{"card": 1}], "at": TEN, "deadline_ms": 10_000})
    assert known["score"] == known["features"]["n"]
    recorded = {"rows": [{**WHOLE, "id": 904}], "record": True, "deadline_ms": 10_000}
    assert mirror.score("count", recorded)[0]["recorded"] == "log"


def listed(mirror):
    reply = mirror.client.call("ListViews", {})
    _, told = mirror.http.ask("/v1/views")
    views = [
        {
            "view": view.view, "digest": view.digest, "stream": view.stream,
            "keys": list(view.keys),
            "columns": [{"name": it.name, "type": it.type} for it in view.columns],
            "row": [
                {"name": it.name, "type": it.type, "not_null": it.not_null} for it in view.row
            ],
        }
        for view in reply.views
    ]
    mirror.same(views, told["views"], ("views",))
    assert reply.served == told["definitions"]["served"]


def refused(mirror):
    def features(name, body, view="risk"):
        mirror.fails(name, "GetFeatures", {"view": view, **body}, f"/v1/features/{view}")

    features("unknown view", {"rows": [NULLS]}, view="nothing")
    features("bad row", {"rows": [NULLS, {**WHOLE, "big": "many"}]})
    features("bad decimal", {"rows": [{**WHOLE, "amount": "1.005"}]})
    features("unknown column", {"rows": [NULLS], "columns": ["nothing"]})
    features("unknown key", {"keys": [{"user": 1}]})
    features("too many rows", {"rows": [NULLS] * 1001})
    features("rows and keys", {"rows": [NULLS], "keys": [{"card": 1}]})
    features("bad deadline", {"rows": [NULLS], "deadline_ms": 0})
    features("bad instant", {"keys": [{"card": 1}], "at": "noon"})
    features("recorded keys", {"keys": [{"card": 1}], "record": True})
    untimed = {name: value for name, value in WHOLE.items() if name != "at"}
    untimed = {"rows": [untimed], "record": True, "deadline_ms": 10_000}
    features("recorded without a time", untimed)
    mirror.fails("unknown model", "Score", {"model": "x", "rows": [NULLS]}, "/v1/score/x")
    mirror.fails("unknown stream", "PushEvents", {"stream": "x", "events": [NULLS]}, "/v1/events/x")


def beyond_the_wire(mirror):
    """What has no counterpart in HTTP's words."""
    for name, call, code in [
        ("too large", lambda: mirror.client.call(
            "GetFeatures", {"view": "risk", "rows": [{**WHOLE, "name": "x" * (4 << 20)}]}),
         grpc.StatusCode.INVALID_ARGUMENT),
        ("no method", lambda: mirror.client.channel.unary_unary(f"/{SERVICE}/Nothing")(b""),
         grpc.StatusCode.UNIMPLEMENTED),
        ("no service", lambda: mirror.client.channel.unary_unary("/a.B/C")(b""),
         grpc.StatusCode.UNIMPLEMENTED),
        ("no message", lambda: mirror.client.channel.unary_unary(f"/{SERVICE}/Score")(b"\xff" * 9),
         grpc.StatusCode.INTERNAL),
        ("compressed", lambda: mirror.client.channel.unary_unary(f"/{SERVICE}/Score")(
            b"", compression=grpc.Compression.Gzip), grpc.StatusCode.UNIMPLEMENTED),
    ]:
        try:
            reply = call()
        except grpc.RpcError as error:
            assert error.code() == code, (name, error)
            mirror.refused[name] = error.code().name
        else:
            raise AssertionError((name, reply))


def reflected(mirror):
    """Reflection of version 1 says what the older one does."""
    from grpc_reflection.v1alpha import reflection_pb2 as messages

    ask = mirror.client.channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=messages.ServerReflectionRequest.SerializeToString,
        response_deserializer=messages.ServerReflectionResponse.FromString,
    )
    [reply] = ask(iter([messages.ServerReflectionRequest(list_services="")]))
    services = {service.name for service in reply.list_services_response.service}
    assert {SERVICE, HEALTH, "grpc.reflection.v1.ServerReflection"} == services, services


def mirror(address, url):
    mirror = Mirror(address, url)
    parts = (pushed, answered, known, recorded, scored, listed, refused, beyond_the_wire, reflected)
    for part in parts:
        part(mirror)
    health = mirror.client.call("Check", {"service": SERVICE}, service=HEALTH)
    print(json.dumps({
        "services": mirror.client.services(),
        "values": mirror.values,
        "rows": mirror.rows,
        "refused": mirror.refused,
        "health": word(health, "status"),
        "unseen": sorted(mirror.client.members() - mirror.client.seen),
    }))


def token(address, token):
    knows = Client(address, token)
    method = knows.method(SERVICE, "ListViews")
    stranger = Client(address)
    said = {"known": len(knows.call("ListViews", {}).views)}
    for name, call in [
        ("stranger", lambda: stranger.callable(method)(stranger.message(method, {}))),
        ("wrong", lambda: Client(address, token + "x").services()),
    ]:
        try:
            call()
        except grpc.RpcError as error:
            said[name] = [error.code().name, error.details()]
    check = knows.method(HEALTH, "Check")
    health = stranger.callable(check)(knows.message(check, {}))
    said["health"] = word(health, "status")
    print(json.dumps(said))


def crowd(address, calls):
    # A few connections, as a few processes have.
    clients = [Client(address, options=[("grpc.use_local_subchannel_pool", 1)]) for _ in range(4)]
    rows = [{"id": 10 + n, "at": TEN, "card": 1, "amount": "1.00"} for n in range(1_000)]
    ways = []
    for client in clients:
        method = client.method(SERVICE, "GetFeatures")
        request = client.message(method, {"view": "risk", "rows": rows})
        ways.append((client.callable(method), request))
    asked = [ways[n % len(ways)] for n in range(int(calls))]
    asked = [call.future(request, timeout=120) for call, request in asked]
    codes = {}
    for one in asked:
        code = one.code().name
        codes[code] = codes.get(code, 0) + 1
        if code != "OK":
            said = dict(one.trailing_metadata())
            assert said["trueup-problem"] == "urn:trueup:problem:busy", (code, said, one.details())
            assert (said["retry-after"], said["grpc-retry-pushback-ms"]) == ("1", "1000"), said
    print(json.dumps(codes))


def watch(address):
    watching = Client(address).watch()
    for health in watching:
        print(word(health, "status"), flush=True)
    print(f"ended {watching.code().name}", flush=True)


def protoc(proto, out):
    from grpc_tools import protoc as compiler

    root = str(Path(proto).parents[2])
    ended = compiler.main(["protoc", "-I", root, f"--descriptor_set_out={out}", proto])
    assert ended == 0, ended


if __name__ == "__main__":
    parts = {"mirror": mirror, "token": token, "crowd": crowd, "watch": watch, "protoc": protoc}
    parts[sys.argv[1]](*sys.argv[2:])
