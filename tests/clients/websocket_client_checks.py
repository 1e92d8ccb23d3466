"""PyPI websocket-client (synchronous) against an echo route."""

import sys

import websocket

ws = websocket.create_connection(sys.argv[1], timeout=30, subprotocols=["a", "b"])
assert ws.getsubprotocol() == "a", ws.getsubprotocol()
ws.send("text")
assert ws.recv() == "text"
ws.send_binary(b"\x00\x01")
assert ws.recv() == b"\x00\x01"

frame = websocket.ABNF.create_frame("in two ", websocket.ABNF.OPCODE_TEXT, 0)
ws.send_frame(frame)
frame = websocket.ABNF.create_frame("frames", websocket.ABNF.OPCODE_CONT, 1)
ws.send_frame(frame)
assert ws.recv() == "in two frames"
print("ok: text, binary, fragments")

ws.ping("payload")
opcode, frame = ws.recv_data_frame(control_frame=True)
assert opcode == websocket.ABNF.OPCODE_PONG and frame.data == b"payload", (opcode, frame)
print("ok: pong")

ws.send_close(4321, b"reason")
opcode, frame = ws.recv_data_frame(control_frame=True)
assert opcode == websocket.ABNF.OPCODE_CLOSE and frame.data[:2] == (4321).to_bytes(2, "big"), frame.data
assert ws.sock.recv(1) == b"", "the server ends the connection after the closing handshake"
print("ok: close")
print("done: websocket-client", websocket.__version__)
