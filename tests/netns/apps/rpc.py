"""gRPC streaming in all directions over cleartext HTTP/2, with messages of plain bytes."""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
from jsonlog import JsonLog, Tally

MESSAGES = 30


class Service(grpc.GenericRpcHandler):
    """Three methods that take and give bytes, and log what each call has sent."""

    def __init__(self, log: JsonLog) -> None:
        self._log = log

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Return what serves a method."""
        return {
            "/test/gather": grpc.stream_unary_rpc_method_handler(self.gather),
            "/test/scatter": grpc.unary_stream_rpc_method_handler(self.scatter),
            "/test/chat": grpc.stream_stream_rpc_method_handler(self.chat),
        }.get(handler_call_details.method)

    def gather(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """Client streaming."""
        tally = Tally()
        for message in requests:
            tally.add(message)
        self._note("gather", tally)
        return tally.sha256.encode()

    def scatter(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        """Server streaming."""
        tally = Tally()
        tally.add(request)
        for number in range(MESSAGES):
            yield request * (number + 1)
            time.sleep(0.002)
        self._note("scatter", tally)

    def chat(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Streaming both ways."""
        tally = Tally()
        for message in requests:
            tally.add(message)
            yield message
        self._note("chat", tally)

    def _note(self, method: str, tally: Tally) -> None:
        self._log.append(method=method, bytes=tally.bytes, sha256=tally.sha256)


def serve(path: str) -> None:
    """Serve until killed."""
    server = grpc.server(ThreadPoolExecutor(64), handlers=[Service(JsonLog(path))], options=[("grpc.so_reuseport", 0)])
    server.add_insecure_port("0.0.0.0:1025")
    server.start()
    server.wait_for_termination()


def converse(number: int) -> int:
    """Make one call of each kind, on a connection of its own."""
    chooser = random.Random(number)
    messages = [chooser.randbytes(chooser.choice((1, 100, 5000))) for _ in range(MESSAGES)]
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel("192.168.50.10:1025", options=options) as channel:
        assert len(channel.stream_unary("/test/gather")(iter(messages))) == 64
        assert sum(1 for _ in channel.unary_stream("/test/scatter")(messages[0])) == MESSAGES
        assert list(channel.stream_stream("/test/chat")(iter(messages))) == messages
        time.sleep(0.5)  # a server cancels calls that it is still busy with when their connection ends
    return 3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["server", "client"])
    parser.add_argument("--log")
    parser.add_argument("--connections", type=int, default=10)
    options = parser.parse_args()
    if options.role == "server":
        serve(options.log)
        return
    with ThreadPoolExecutor(options.connections) as pool:
        print(json.dumps({"results": list(pool.map(converse, range(options.connections)))}))


if __name__ == "__main__":
    main()
