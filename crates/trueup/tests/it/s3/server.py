"""A server of S3 that checks signatures, for the tests beside this file.

Prints {"port", "id", "secret"}, then does what each line of JSON on its input says, and answers each with
a line:
  {"put": {KEY: TEXT or {"file": PATH}}}    objects of the bucket
  {"fault": KEY, "is": [FAULT, ...]}        what becomes of the next GETs of an object: {"cut": BYTES},
                                            {"status": 503}, or {"change": TEXT}, another object by then
  {"gets": KEY}                             how often it was got
Arguments: a certificate and its key, to encrypt.
"""

import json
import socket
import sys
import threading

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "events"
RULES = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
faults: dict[str, list[dict]] = {}
gets: dict[str, int] = {}


class Quiet(WSGIRequestHandler):
    # Kept connections, as real servers have them.
    protocol_version = "HTTP/1.1"

    def log(self, *_):
        pass


class Faulty:
    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        key = environ["PATH_INFO"].encode("latin-1").decode().removeprefix(f"/{BUCKET}/")
        is_get = environ["REQUEST_METHOD"] == "GET"
        gets[key] = gets.get(key, 0) + is_get
        left = faults.get(key)
        fault = left.pop(0) if is_get and left else {}
        if "status" in fault:
            start_response(f"{fault['status']} Faulty", [("Content-Length", "0")])
            return [b""]
        if "change" in fault:
            put(key, fault["change"].encode())
        body = self.app(environ, start_response)
        return cut(body, fault["cut"], environ["werkzeug.socket"]) if "cut" in fault else body


def cut(body, after, connection):
    for part in body:
        yield part[:after]
        if len(part) >= after:
            # Else it would be kept, and whoever waits for the rest would wait.
            connection.shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError("cut on cue")
        after -= len(part)


def client(service, key, secret):
    url = f"{'https' if len(sys.argv) > 1 else 'http'}://127.0.0.1:{server.port}"
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        verify=False,
    )


def put(key, body):
    bucket.put_object(Bucket=BUCKET, Key=key, Body=body)


def serve():
    import logging

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server.serve_forever()


if __name__ == "__main__":
    import urllib3

    urllib3.disable_warnings()
    tls = tuple(sys.argv[1:3]) or None
    app = Faulty(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet, ssl_context=tls)
    threading.Thread(target=serve, daemon=True).start()
    client("s3", "any", "any").create_bucket(Bucket=BUCKET)
    users = client("iam", "any", "any")
    users.create_user(UserName="reader")
    users.put_user_policy(UserName="reader", PolicyName="all", PolicyDocument=json.dumps(RULES))
    key = users.create_access_key(UserName="reader")["AccessKey"]
    # From here on requests are judged.
    import requests

    url = f"{'https' if tls else 'http'}://127.0.0.1:{server.port}/moto-api/reset-auth"
    requests.post(url, data=b"0", verify=False, timeout=30).raise_for_status()
    bucket = client("s3", key["AccessKeyId"], key["SecretAccessKey"])
    said = {"port": server.port, "id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}
    print(json.dumps(said), flush=True)
    for line in sys.stdin:
        told = json.loads(line)
        answer = 0
        for name, what in told.get("put", {}).items():
            put(name, open(what["file"], "rb").read() if isinstance(what, dict) else what.encode())
        if "fault" in told:
            faults[told["fault"]] = told["is"]
        if "gets" in told:
            answer = gets.get(told["gets"], 0)
        print(json.dumps(answer), flush=True)
