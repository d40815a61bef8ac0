"""Streaming HTTP clients that cost little: `python bench/serving/client.py --url URL --model NAME …`.

One thread, bare sockets, epoll: a frame is counted and its time taken, nothing is parsed before the
end but the place where a frame begins; the tokens are those of the service's own `usage`. Runs the
loads of serving/load.py and tells beside each which share of a processor it took itself, the
service's Deno process and its Python took. Linux only. No torch.
"""

from __future__ import annotations

import argparse
import json
import re
import select
import socket
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from serving.cores import Shares
from serving.load import (
    PLANS,
    Plan,
    Stream,
    arrivals,
    crowd_name,
    crowd_serial,
    figures_at_once,
    figures_kept,
    middle,
    prompt_ids,
    prompt_lengths,
)

FRAME = b'"choices":[{'  # once in every frame that brings text; the frame of usage has none
USAGE = re.compile(rb'"completion_tokens":(\d+)')
RESULTS: dict[str, Any] = {}


def say(name: str, result: Any) -> None:
    RESULTS[name] = result
    print(f"HTTP:  {name:34} {json.dumps(result)}", flush=True)


class Clients:
    """Opens streams and reads all of them until they have ended."""

    def __init__(self, url: str, model: str, vocabulary: int) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port)
        self._model = model
        self._vocabulary = vocabulary
        self._serial = 0
        self._poll = select.epoll()
        self._open: dict[int, tuple[socket.socket, Stream, bytes]] = {}

    def request(self, length: int, new: int) -> bytes:
        self._serial += 1
        body = json.dumps(
            {
                "model": self._model,
                "prompt": prompt_ids(self._serial, length, self._vocabulary),
                "max_tokens": new,
                "temperature": 0,
                "ignore_eos": True,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        )
        return (
            f"POST /v1/completions HTTP/1.1\r\nHost: {self._address[0]}:{self._address[1]}\r\n"
            "Content-Type: application/json\r\nConnection: close\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    def send(self, request: bytes) -> Stream:
        stream = Stream(time.perf_counter())
        connection = socket.create_connection(self._address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(request)
        connection.setblocking(False)
        self._open[connection.fileno()] = (connection, stream, b"")
        self._poll.register(connection.fileno(), select.EPOLLIN)
        return stream

    def read(self) -> int:
        """Waits for the next bytes and takes them; how many streams ended."""
        ended = 0
        for number, _ in self._poll.poll():
            connection, stream, tail = self._open[number]
            data = connection.recv(1 << 16)
            if data:
                if data.find(FRAME) >= 0:
                    stream.arrivals.append(time.perf_counter())
                self._open[number] = (connection, stream, (tail + data)[-1024:])
                continue
            self._poll.unregister(number)
            connection.close()
            del self._open[number]
            found = USAGE.search(tail)
            if not found or b"[DONE]" not in tail:
                raise SystemExit(f"a stream broke off: {tail.decode(errors='replace')}")
            stream.tokens = int(found[1])
            ended += 1
        return ended

    def prompts_of(self, crowd: int) -> None:
        self._serial = crowd_serial(crowd)

    def at_once(self, count: int, new: int) -> dict[str, Any]:
        requests = [self.request(length, new) for length in prompt_lengths(count)]
        began = time.perf_counter()
        streams = [self.send(request) for request in requests]
        left = count
        while left:
            left -= self.read()
        return figures_at_once(streams, time.perf_counter() - began)

    def kept_running(self, count: int, seconds: float) -> dict[str, Any]:
        following = arrivals(count)
        ends = time.perf_counter() + seconds
        streams = [self.send(self.request(*following())) for _ in range(count)]
        while self._open:
            ended = self.read()
            if time.perf_counter() < ends:
                streams += [self.send(self.request(*following())) for _ in range(ended)]
        return figures_kept(streams)


def play(clients: Clients, plan: Plan, service: int) -> None:
    for count in plan.crowds:
        clients.at_once(count, 16)  # first use of what was not compiled yet
        clients.prompts_of(count)
        rounds = []
        for _ in range(plan.rounds):
            shares = Shares(service)
            rounds.append(clients.at_once(count, plan.new_tokens) | {"cores": shares.told()})
        say(crowd_name(count), middle(rounds))
    shares = Shares(service)
    kept = clients.kept_running(plan.kept, plan.kept_seconds)
    say(f"{plan.kept} kept running", kept | {"cores": shares.told()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--vocabulary", type=int, required=True)
    parser.add_argument("--service", type=int, required=True, help="its process id")
    parser.add_argument("--since", type=float, required=True, help="when it was started, epoch")
    parser.add_argument("--plan", choices=PLANS, required=True)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    clients = Clients(asked.url, asked.model, asked.vocabulary)
    clients.at_once(1, 1)
    say("ready, seconds", round(time.time() - asked.since, 1))
    play(clients, PLANS[asked.plan], asked.service)
    asked.out.write_text(json.dumps(RESULTS, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
