"""PyPI boto3: a program written for AWS's WebSocket API posts to, looks at and closes a connection.

Called with the URL of the main listener (ws://…) and of the control listener (http://…), without keys.
"""

import json
import sys
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

MAIN, CONTROL = sys.argv[1:]


def api(endpoint):
    return boto3.client(
        "apigatewaymanagementapi",
        endpoint_url=endpoint,
        region_name="eu-central-1",
        aws_access_key_id="nobody",
        aws_secret_access_key="looks at these",
        config=Config(retries={"max_attempts": 1}, proxies={}),
    )


def connection_id(channel):
    with urllib.request.urlopen(f"{CONTROL}/v1/connections?channel={channel}") as answer:
        [connection] = json.load(answer)["connections"]
        return connection["id"]


def refusal(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        return error
    raise AssertionError("it was not refused")


for name, endpoint in [("", CONTROL), ("stage ", f"{CONTROL}/production")]:
    aws = api(endpoint)
    with connect(f"{MAIN}/ch/aws") as client:
        id = connection_id("aws")
        status = aws.post_to_connection(ConnectionId=id, Data=b"hello")["ResponseMetadata"]["HTTPStatusCode"]
        assert (status, client.recv(timeout=10)) == (200, "hello")
        aws.post_to_connection(ConnectionId=id, Data='{"tàu":1}')
        assert client.recv(timeout=10) == '{"tàu":1}'
        aws.post_to_connection(ConnectionId=id, Data=bytes([0xFF, 0x00]))
        assert client.recv(timeout=10) == bytes([0xFF, 0x00])
        aws.post_to_connection(ConnectionId=id, Data=b"x" * 131072)
        assert len(client.recv(timeout=10)) == 131072
        print(f"{name}post: {status}")

        large = refusal(aws.post_to_connection, ConnectionId=id, Data=b"x" * 131073)
        assert isinstance(large, aws.exceptions.PayloadTooLargeException), large
        print(f"{name}too large: {large.response['Error']['Code']}")

        known = aws.get_connection(ConnectionId=id)
        assert known.pop("ResponseMetadata")["HTTPStatusCode"] == 200
        print(f"{name}get: {known}")

        status = aws.delete_connection(ConnectionId=id)["ResponseMetadata"]["HTTPStatusCode"]
        try:
            client.recv(timeout=10)
        except ConnectionClosed as closed:
            print(f"{name}delete: {status}, closed with {closed.rcvd.code}")

    for unknown in [id, "L0SM9cOFvHcCIhw=", "a/b c"]:
        for call, more in [
            (aws.post_to_connection, {"Data": b"x"}),
            (aws.get_connection, {}),
            (aws.delete_connection, {}),
        ]:
            gone = refusal(call, ConnectionId=unknown, **more)
            assert isinstance(gone, aws.exceptions.GoneException), gone
            assert gone.response["ResponseMetadata"]["HTTPStatusCode"] == 410
    print(f"{name}unknown: {gone.response['Error']['Code']}")

print("done: boto3", boto3.__version__)
