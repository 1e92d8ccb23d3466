"""A back end for devices behind the gateway: registers them, greets them by a notification, answers their calls.

Run as `apigw_app.py PORT GATEWAY [KEY SECRET]`; with a key it signs its notifications, as the original wants it.
"""

import base64
import hashlib
import hmac
import json
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, GATEWAY = int(sys.argv[1]), sys.argv[2]
KEY, SECRET = (sys.argv[3:5] + ["", ""])[:2] if len(sys.argv) > 4 else ("", "")


def signed(method, path, headers):
    """The headers with a signature over them (no query, no form)."""
    headers = {
        "x-ca-key": KEY,
        "x-ca-timestamp": str(int(time.time() * 1000)),
        "x-ca-nonce": str(uuid.uuid4()),
        **headers,
    }
    fixed = "".join(headers.get(name, "") + "\n" for name in ("accept", "content-md5", "content-type", "date"))
    names = sorted(name for name in headers if name.startswith("x-ca-"))
    text = method + "\n" + fixed + "".join(f"{name}:{headers[name]}\n" for name in names) + path
    digest = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest()
    headers["x-ca-signature"] = base64.b64encode(digest).decode()
    headers["x-ca-signature-headers"] = ",".join(names)
    return headers


def notify(device, body):
    """The status that the gateway answers."""
    headers = {"x-ca-deviceid": device, "content-type": "text/plain"}
    headers["content-md5"] = base64.b64encode(hashlib.md5(body).digest()).decode()
    if KEY:
        headers = signed("POST", "/notify", headers)
    request = urllib.request.Request(GATEWAY + "/notify", data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def greet(device):
    status = notify(device, f"welcome, {device}".encode())
    print(f"greeted {device} {status}\n", end="", flush=True)


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            self.wfile.flush()

    def serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        device = self.headers.get("x-ca-deviceid")
        path = self.path.split("?")[0]
        if path == "/register":
            print(f"register {device}\n", end="", flush=True)
            self.answer(200 if device else 401, b"registered")
            if device:
                threading.Thread(target=greet, args=(device,)).start()
        elif path == "/unregister":
            print(f"unregister {device}\n", end="", flush=True)
            self.answer(200)
        elif path == "/send":
            status = notify(self.headers["x-to"], body)
            self.answer(200, json.dumps({"notified": status}).encode())
        elif path == "/bytes":
            self.answer(200, "你好".encode("gbk"), [("Content-Type", "text/plain; charset=gbk")])
        elif path == "/cookies":
            self.answer(200, b"", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
        else:
            told = {
                "method": self.command,
                "path": self.path,
                "device": device,
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "body": base64.b64encode(body).decode(),
            }
            self.answer(200, json.dumps(told).encode(), [("Content-Type", "application/json; charset=utf-8")])

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = serve

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", PORT), App)
print("back end ready", flush=True)
server.serve_forever()
