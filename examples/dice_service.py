#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A backend service: clients' messages of type 1200 are answered with a roll of dice.

    examples/dice_service.py [--nats 127.0.0.1:4222] [--cluster main]

with gateways that run with --bus.servers='["nats://127.0.0.1:4222"]' --bus.services='["json:1200"]'.
The payload is "<count>d<sides>", as in 2d6. Whoever rolls the highest sum is told to everybody in the
topic room.dice. Several of these may run: NATS gives each message to one of the group.

It speaks NATS's text protocol over a socket, to show all that there is; a service of yours would
use the client library of its language. docs/cluster.md says what stands in the messages.
"""
import argparse
import base64
import json
import random
import re
import socket


class Nats:
    """CONNECT, SUB, PUB and MSG of the protocol (docs.nats.io); one subscription."""

    def __init__(self, address):
        host, port = address.rsplit(':', 1)
        self.socket = socket.create_connection((host, int(port)))
        self.file = self.socket.makefile('rb')
        self.file.readline()  # INFO
        self.socket.sendall(b'CONNECT {"verbose":false,"pedantic":false,"name":"dice"}\r\n')

    def subscribe(self, subject, group):
        self.socket.sendall(f'SUB {subject} {group} 1\r\nPING\r\n'.encode())

    def publish(self, subject, message):
        body = json.dumps(message).encode()
        self.socket.sendall(f'PUB {subject} {len(body)}\r\n'.encode() + body + b'\r\n')

    def messages(self):
        """(reply subject, body) of each message; prints when the subscription is there."""
        while line := self.file.readline():
            words = line.split()
            if words[0] == b'PING':
                self.socket.sendall(b'PONG\r\n')
            elif words[0] == b'PONG':
                print('dice: serving', flush=True)
            elif words[0] == b'MSG':
                body = self.file.read(int(words[-1]))
                self.file.read(2)
                yield (words[3].decode() if len(words) == 5 else '', body)


def roll(call):
    match = re.fullmatch(r'(\d{1,2})d(\d{1,3})', base64.b64decode(call['payload']).decode('utf-8', 'replace'))
    if not match or int(match[1]) == 0 or int(match[2]) == 0:
        return None
    return [random.randint(1, int(match[2])) for _ in range(int(match[1]))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--nats', default='127.0.0.1:4222')
    parser.add_argument('--cluster', default='main')
    options = parser.parse_args()
    prefix = f'tidegate.{options.cluster}'
    nats = Nats(options.nats)
    nats.subscribe(f'{prefix}.in.1200', 'dice')
    best = 0
    for reply, body in nats.messages():
        call = json.loads(body)
        dice = roll(call)
        if dice is None:
            nats.publish(reply, {'code': 4003, 'message': 'a roll is written as in 2d6'})
            continue
        text = json.dumps({'dice': dice, 'sum': sum(dice)})
        nats.publish(reply, {'type': 1201, 'payload': base64.b64encode(text.encode()).decode()})
        if sum(dice) > best:
            best = sum(dice)
            news = f'{call["user_id"]} leads with {best}'
            nats.publish(f'{prefix}.out.topic',
                         {'to': 'room.dice', 'type': 1, 'payload': base64.b64encode(news.encode()).decode()})


if __name__ == '__main__':
    main()
