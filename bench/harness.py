# SPDX-License-Identifier: Apache-2.0
"""What bench/run and bench/instructions share: finding programs, a network namespace of their own,
server processes that can be put to sleep between rounds, and calls of the generator.

The server owns CPU 0 and the generator CPU 1; nothing here runs while a round is measured.
"""

import base64
import hashlib
import hmac
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "bench" / "peers"
SERVER_CPU, CLIENT_CPU = 0, 1


class BenchError(Exception):
    """A round that could not be measured; the text is for the user."""


def find_program(build, name):
    """Path of a built program, or None."""
    for place in (build / name, build / "bench" / name, build / "tools" / name,
                  build / "tools" / name / name):
        if place.is_file() and os.access(place, os.X_OK):
            return place
    return None


def bun_program():
    bun = PEERS / "node_modules/@oven/bun-linux-x64/bin/bun"
    return bun if bun.exists() else None


def node_program():
    return shutil.which("node") if (PEERS / "node_modules/ws").exists() else None


def enter_private_network(congestion):
    """Restarts this program in a network namespace with only a loopback device, so that other
    sockets of the machine do not count and the congestion control can be chosen: bbr, the default
    of some hosts, paces with timers and adds noise. Without the privilege the host's network is
    used as it is."""
    if os.environ.get("BENCH_NAMESPACE") is None and os.geteuid() == 0:
        probe = subprocess.run(["unshare", "-n", "true"], capture_output=True)
        if probe.returncode == 0:
            env = dict(os.environ, BENCH_NAMESPACE="1")
            os.execvpe("unshare", ["unshare", "-n", sys.executable] + sys.argv, env)
    if os.environ.get("BENCH_NAMESPACE"):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        key = Path("/proc/sys/net/ipv4/tcp_congestion_control")
        try:
            key.write_text(congestion)
        except OSError:
            pass  # what holds is printed and stored with the results
    return Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()


def free_port():
    """A fresh port for each start: a ring that is torn down keeps its listener for a moment."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def process_cpu_ns(pid):
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            pass  # a thread that just ended
    return total


class Server:
    """One server process on its own port, stopped (SIGSTOP) while others are measured."""

    def __init__(self, name, command, raw=False, cpu=SERVER_CPU, port=None, client_args=(),
                 start_seconds=20):
        self.name, self.raw, self.client_args = name, raw, list(client_args)
        self.port = port or free_port()
        self.address = f"127.0.0.1:{self.port}"
        words = [str(w).replace("{address}", self.address) for w in command]
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))
        deadline = time.monotonic() + start_seconds
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    raise BenchError(f"{name} did not start: {self.output()}") from None
                time.sleep(0.02)

    @property
    def pid(self):
        return self.process.pid

    def output(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")[-600:].strip()

    def pause(self):
        """Lets the server finish what the last round left (closed connections), then stops it."""
        for _ in range(30):
            before = process_cpu_ns(self.pid)
            time.sleep(0.1)
            if process_cpu_ns(self.pid) - before < 10_000_000:
                break
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def start_client(build, server, arguments):
    client = find_program(build, "bench-client")
    command = [client, "--cpu", CLIENT_CPU, "--connect", server.address, "--server-pid", server.pid]
    command += ["--raw"] if server.raw else []
    return subprocess.Popen([str(w) for w in command + list(server.client_args) + list(arguments)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish_client(server, client, seconds):
    try:
        out, err = client.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        client.kill()
        client.communicate()
        raise BenchError(f"{server.name}: the generator did not come back") from None
    if client.returncode != 0:
        raise BenchError(f"{server.name}: {err.strip()} {out.strip()} {server.output()}")
    return json.loads(out)


def run_client(build, server, arguments, seconds=120):
    return finish_client(server, start_client(build, server, arguments), seconds)


# --- state load: a whole tidegate with its own configuration -------------------------------------

SECRET = "benchmark-secret-of-at-least-32-bytes"
SPAWN = (32.0, 0.0, 32.0)  # the middle of a 64 m cell: walkers of 2 m reach never leave it


def token(user):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    now = int(time.time())
    head = part({"alg": "HS256", "typ": "JWT"})
    body = head + b"." + part({"sub": user, "iat": now, "exp": now + 86400})
    mac = hmac.new(SECRET.encode(), body, hashlib.sha256).digest()
    return (body + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


def start_tidegate(program, folder, connections, tick_rate, spread=0):
    """`tidegate serve` with everybody in one cell (or `spread` metres around, out of each other's
    sight), and a token for each connection."""
    port, admin = free_port(), free_port()
    config = folder / f"state-{port}.toml"
    config.write_text(f"""[listen]
websocket = "127.0.0.1:{port}"
[admin]
listen = "127.0.0.1:{admin}"
token = "benchmark-admin-token"
[shards]
count = 1
[auth]
hs256_secret = "{SECRET}"
[limits]
connections = {connections + 100}
[world]
tick_rate = {tick_rate}
cell_size = {8 if spread else 64}
view_distance = 1
max_speed = 10
spawn = [{SPAWN[0]}, {SPAWN[1]}, {SPAWN[2]}]
spawn_radius = {spread}
""")
    tokens = folder / f"tokens-{port}"
    tokens.write_text("".join(token(f"bench-{i}") + "\n" for i in range(connections)))
    return Server("tidegate", [program, "serve", "--config", config], port=port,
                  client_args=["--path", "/ws", "--tokens", tokens, "--hello", 1])
