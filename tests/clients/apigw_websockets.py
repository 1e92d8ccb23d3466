"""PyPI websockets as a device in front of the back end in apigw_app.py. Run as `apigw_websockets.py WS HTTP`."""

import asyncio
import base64
import json
import sys
import urllib.request

import websockets
from websockets.asyncio.client import connect

URL, HTTP = sys.argv[1], sys.argv[2]
DEVICE = "ffd3234343dae324342@12344133"


class Device:
    def __init__(self, ws):
        self.ws = ws
        self.seq = 0

    async def word(self, word):
        await self.ws.send(word)
        return await self.ws.recv()

    async def call(self, method, path, headers=None, **more):
        self.seq += 1
        headers = {"x-ca-seq": [str(self.seq)], **(headers or {})}
        await self.ws.send(json.dumps({"method": method, "host": "api", "path": path, "headers": headers, **more}))
        answer = json.loads(await self.ws.recv())
        assert answer["header"]["x-ca-seq"] == str(self.seq), answer
        return answer


async def main():
    async with connect(URL) as ws:
        device = Device(ws)
        word, credential, interval = (await device.word(f"RG#{DEVICE}")).split("#")
        assert (word, interval) == ("RO", "25000")
        assert await device.word("H1") == f"HO#{credential}"
        print("ok: a device says who it is")

        answer = await device.call("POST", "/register", {"x-ca-websocket_api_type": ["REGISTER"]})
        assert (answer["status"], answer["body"]) == (200, "registered"), answer
        assert await ws.recv() == f"NF#welcome, {DEVICE}"
        await ws.send("NO")
        print("ok: it is registered and greeted")

        answer = await device.call(
            "PUT", "/any/pa th", {"X-Own": "ü"}, querys={"a": "ä&=", "b": ""}, body="Ä\n", isBase64=0
        )
        told = json.loads(answer["body"])
        assert told["path"] == "/any/pa%20th?a=%C3%A4%26%3D&b=", told
        assert (told["method"], told["device"]) == ("PUT", DEVICE), told
        assert base64.b64decode(told["body"]) == "Ä\n".encode(), told
        assert told["headers"]["x-own"].encode("latin-1").decode() == "ü", told
        assert answer["header"]["content-type"] == "application/json; charset=utf-8", answer
        print("ok: a request arrives whole")

        raw = bytes(range(256))
        answer = await device.call("POST", "/", body=base64.b64encode(raw).decode(), isBase64=1)
        assert base64.b64decode(json.loads(answer["body"])["body"]) == raw
        answer = await device.call("GET", "/bytes")
        assert answer["isBase64"] == 1 and base64.b64decode(answer["body"]).decode("gbk") == "你好", answer
        print("ok: bytes in both directions")

        answer = await device.call("GET", "/cookies")
        assert answer["header"]["set-cookie"] == ["a=1", "b=2"], answer
        for method in ("GET", "HEAD", "DELETE", "PATCH", "OPTIONS"):
            answer = await device.call(method, "/x", body=None)
            assert answer["status"] == 200, answer
            assert (answer["body"] == "") == (method == "HEAD"), answer
        print("ok: methods and repeated headers")

        body = "长" * 100_000
        answer = await device.call("POST", "/", body=body)
        assert base64.b64decode(json.loads(answer["body"])["body"]).decode() == body
        print("ok: large bodies")

        # The same by plain HTTP, where the answer to a HEAD keeps its length.
        with urllib.request.urlopen(HTTP + "/plain?x=1") as plain:
            assert json.load(plain)["path"] == "/plain?x=1"
        with urllib.request.urlopen(HTTP + "/plain?x=1") as plain:
            length = int(plain.headers["content-length"])
            assert plain.headers["x-ca-request-id"]
        request = urllib.request.Request(HTTP + "/plain?x=1", method="HEAD")
        with urllib.request.urlopen(request) as plain:
            # One byte more: the name of the method.
            assert int(plain.headers["content-length"]) == length + 1, plain.headers
            assert plain.read() == b""
        print("ok: plain HTTP")

        answer = await device.call("POST", "/unregister", {"x-ca-websocket_api_type": '["UNREGISTER"]'})
        assert answer["status"] == 200
        answer = await device.call("POST", "/send", {"x-to": [DEVICE]}, body="x")
        assert json.loads(answer["body"]) == {"notified": 404}, answer
        print("ok: it hears nothing more")


asyncio.run(main())
print("done: websockets", websockets.__version__)
