#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Three gateways as one cluster with one world on this machine, with bots on all of them, and what they say of it.

    tools/run --cluster [--bots N] [--duration 20s] [--gateways 3] [--headless]

Starts nats-server, redis-server, the gateways and a tidegate-load for each, on free ports of 127.0.0.1; prints a line a second; stops all that it started.
The exit status is 0 when the gateways found each other and no bot was refused or lost.
"""
import argparse
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAMS = os.environ.get('TIDEGATE_BIN') or os.path.join(ROOT, 'build', 'release')


def seconds_of(text):
    match = re.fullmatch(r'(\d+(?:\.\d+)?)(ms|s|m|h)?', text)
    if not match:
        raise argparse.ArgumentTypeError('expected a duration such as 20s')
    return float(match[1]) * {'ms': 0.001, 's': 1, 'm': 60, 'h': 3600}[match[2] or 's']


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Cluster:
    def __init__(self, options):
        self.options = options
        self.folder = tempfile.mkdtemp(prefix='tidegate-cluster-')
        self.children = []
        self.secret = secrets.token_urlsafe(32)
        self.token = secrets.token_urlsafe(16)

    def start(self, name, command, **more):
        log = open(os.path.join(self.folder, name + '.log'), 'wb')
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                 start_new_session=True, **more)
        child.name = name
        self.children.append(child)
        return child

    def log(self, name):
        with open(os.path.join(self.folder, name + '.log'), encoding='utf-8', errors='replace') as file:
            return file.read()

    def wait_for(self, child, pattern, limit=30):
        end = time.monotonic() + limit
        while time.monotonic() < end:
            match = re.search(pattern, self.log(child.name))
            if match:
                return match
            if child.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError(f'{child.name} did not start:\n{self.log(child.name)}')

    def stop(self):
        for child in reversed(self.children):
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        end = time.monotonic() + 10
        for child in reversed(self.children):
            try:
                child.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def config(self, name, sections):
        path = os.path.join(self.folder, name + '.toml')
        with open(path, 'w', encoding='utf-8') as file:
            for section, keys in sections.items():
                file.write(f'[{section}]\n')
                for key, value in keys.items():
                    file.write(f'{key} = {json.dumps(value)}\n')
        return path

    def start_stores(self):
        nats = self.start('nats-server', [self.program('nats-server'), '--addr', '127.0.0.1', '--port', '-1'])
        self.nats = 'nats://127.0.0.1:' + self.wait_for(nats, r'client connections on 127\.0\.0\.1:(\d+)')[1]
        print(f'nats-server at {self.nats}')
        port = free_port()
        redis = self.start('redis-server', [
            self.program('redis-server'), '--bind', '127.0.0.1', '--port', str(port), '--save', '',
            '--appendonly', 'no', '--dir', self.folder])
        self.wait_for(redis, r'Ready to accept connections')
        self.redis = f'127.0.0.1:{port}'
        print(f'redis-server at {self.redis}')

    @staticmethod
    def program(name):
        path = shutil.which(name) or next((p for p in (f'/usr/sbin/{name}', f'/usr/bin/{name}')
                                           if os.path.exists(p)), None)
        if not path:
            raise RuntimeError(f'{name} is not installed')
        return path

    def start_gateways(self):
        self.gateways = []
        for i in range(self.options.gateways):
            name = f'gateway-{i + 1}'
            sections = {
                'listen': {'websocket': '127.0.0.1:0'},
                'admin': {'listen': '127.0.0.1:0', 'token': self.token},
                'shards': {'count': self.options.shards},
                'auth': {'hs256_secret': self.secret},
                'session': {'secret': self.secret, 'store': 'redis'},
                'redis': {'addresses': [self.redis]},
                'world': {'spawn_radius': 150.0, 'shared': True, 'gateway_number': i + 1,
                          'shared_entities': self.options.bots + 1000},
                'limits': {'connections': self.options.bots + 1000},
                'drain': {'grace': '0s', 'spread': '0s'},
                'bus': {'servers': [self.nats], 'gateway': name, 'member_timeout': self.options.member_timeout},
            }
            child = self.start(name, [os.path.join(PROGRAMS, 'tidegate'), 'serve', '--config',
                                      self.config(name, sections)])
            self.gateways.append(child)
        for child in self.gateways:
            child.url = 'ws://' + self.wait_for(child, r'websocket listening on (\S+:\d+)')[1] + '/ws'
            child.admin = 'http://' + self.wait_for(child, r'admin listening on (\S+:\d+)')[1]
            print(f'{child.name}: {child.url}, metrics at {child.admin}/metrics')

    def ask(self, gateway, path):
        request = urllib.request.Request(gateway.admin + path, headers={'authorization': 'Bearer ' + self.token})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.loads(answer.read())

    def wait_until_together(self, limit=30):
        end = time.monotonic() + limit
        while time.monotonic() < end:
            views = [self.ask(g, '/api/v1/cluster') for g in self.gateways]
            if all(v['settled'] and len(v['gateways']) == len(self.gateways) for v in views):
                return
            time.sleep(0.1)
        raise RuntimeError('the gateways did not find each other')

    def start_bots(self):
        path = os.path.join(self.folder, 'secret')
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), 'w', encoding='utf-8') as file:
            file.write(self.secret + '\n')
        self.loads = []
        share = self.options.bots // len(self.gateways)
        for i, gateway in enumerate(self.gateways):
            name = f'bots-{i + 1}'
            bots = share + (1 if i < self.options.bots % len(self.gateways) else 0)
            load = self.start(name, [
                os.path.join(PROGRAMS, 'tidegate-load'), '--url', gateway.url, '--secret-file', path,
                '--bots', str(bots), '--duration', f'{self.options.duration:.3f}s', '--connect-rate', '500',
                '--area', '400', '--view-distance', '100', '--user-prefix', f'g{i + 1}-',
                '--json', os.path.join(self.folder, name + '.json')])
            self.loads.append(load)

    def watch(self):
        began = time.monotonic()
        lines = 0
        while any(load.poll() is None for load in self.loads):
            time.sleep(1)
            if self.options.headless:
                continue
            if lines % 20 == 0:
                print(f'{"time":>6} {"members":>8} {"users":>7} {"players":>8}  '
                      + f'{"entities":>9}  ' + '  '.join(f'{g.name:>16}' for g in self.gateways))
            lines += 1
            try:
                view = self.ask(self.gateways[0], '/api/v1/cluster')
            except OSError as error:
                print(f'{self.gateways[0].name}: {error}')
                continue
            each = {g['name']: g for g in view['gateways']}
            print(f'{time.monotonic() - began:5.0f}s {len(view["gateways"]):8} {view["sum"]["users"]:7} '
                  f'{view["sum"]["players"]:8}  {view["sum"]["entities"]:8}  '
                  + '  '.join(f'{each[g.name]["players"]:8} players' if g.name in each else f'{"gone":>16}'
                              for g in self.gateways), flush=True)

    def verdict(self):
        good = True
        for load in self.loads:
            try:
                with open(os.path.join(self.folder, load.name + '.json'), encoding='utf-8') as file:
                    result = json.load(file)
            except (OSError, ValueError):
                result = {}
            fine = load.returncode == 0
            good = good and fine
            print(f'{load.name}: {result.get("bots", 0)} bots, {result.get("refused", "?")} refused, '
                  f'{result.get("lost", "?")} lost: {"ok" if fine else "NOT OK"}')
            if not fine:
                print(self.log(load.name)[-2000:])
        return good


def main():
    parser = argparse.ArgumentParser(prog='tools/run --cluster', description=__doc__.splitlines()[0])
    parser.add_argument('--bots', type=int, default=300)
    parser.add_argument('--duration', type=seconds_of, default=0.0, help='as 20s; without it until Ctrl-C')
    parser.add_argument('--gateways', type=int, default=3)
    parser.add_argument('--shards', type=int, default=1, help='of each gateway')
    parser.add_argument('--member-timeout', default='1500ms', help='bus.member_timeout')
    parser.add_argument('--headless', action='store_true', help='only the verdict')
    options = parser.parse_args()
    forever = options.duration == 0
    if forever:
        options.duration = 1e6
    cluster = Cluster(options)
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    try:
        cluster.start_stores()
        cluster.start_gateways()
        cluster.wait_until_together()
        print(f'{len(cluster.gateways)} gateways are one cluster; {options.bots} bots walk on them', flush=True)
        cluster.start_bots()
        cluster.watch()
        return 0 if cluster.verdict() else 1
    except KeyboardInterrupt:
        return 0 if forever else 130
    except RuntimeError as error:
        print(f'tools/run --cluster: {error}', file=sys.stderr)
        return 1
    finally:
        cluster.stop()


if __name__ == '__main__':
    sys.exit(main())
