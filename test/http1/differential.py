#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks nginx and node about every row that passes here: same method, target, body?

    differential.py CODEC_ECHO

CODEC_ECHO is the program of codec_echo.c. nginx (as a proxy before a recording upstream) and node's HTTP
server run on Unix sockets in a temporary folder. A row may say that one of them refuses it (`nginx: refuse
STATUS`); any other difference is a failure. Without nginx or node: exit 77 and the reason.
"""
import json
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

import rows

PATIENCE_S = 10

NGINX_CONF = """
daemon off; master_process off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/nginx.log;
events {{ worker_connections 64; }}
http {{
    access_log off; server_tokens off; ignore_invalid_headers on; underscores_in_headers on;
    large_client_header_buffers 8 16k; client_max_body_size 4m; lingering_close off;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f;
    uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
    server {{
        listen unix:{dir}/nginx.sock; merge_slashes off;
        location / {{
            proxy_pass http://unix:{dir}/upstream.sock; proxy_http_version 1.1;
            proxy_ignore_client_abort on; proxy_pass_request_headers off; proxy_method $request_method;
        }}
    }}
}}
"""

NODE_SERVER = """
const http = require('http');
const server = http.createServer({ maxHeaderSize: 65536 }, (req, res) => {
    const parts = [];
    req.on('data', (p) => parts.push(p));
    req.on('end', () => {
        console.log(JSON.stringify({ method: req.method, target: req.url,
                                     body: Buffer.concat(parts).toString('latin1') }));
        res.end();
    });
});
server.maxHeadersCount = 1000;
server.on('connection', (s) => s.on('close', () => console.log('{}')));
server.listen(process.argv[1], () => console.log('ready'));
"""


def origin_form(target):
    """An absolute form as the path it names: servers differ in which of the two they report."""
    scheme, sep, rest = target.partition("://")
    if not sep or scheme.lower() != "http":
        return target
    cut = min((i for i in (rest.find("/"), rest.find("?")) if i >= 0), default=len(rest))
    path = rest[cut:]
    return path if path.startswith("/") else "/" + path


class Recorder:
    """nginx's upstream: keeps method, target, body of each request; speaks only what nginx writes."""

    def __init__(self, path):
        self.seen = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, connection.makefile("rb") as f:
            method, target, _ = f.readline().decode("latin-1").split(" ")
            length = 0
            while (line := f.readline()) not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            body = f.read(length).decode("latin-1")
            self.seen.append({"method": method, "target": target, "body": body})
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    def take(self):
        seen, self.seen = self.seen, []
        return seen


def exchange(path, sent):
    """Sends the bytes, half-closes, returns all that is answered."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(PATIENCE_S)
        s.connect(path)
        answer = b""
        try:
            s.sendall(sent)
            s.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before all of it was sent: the answer is there
        try:
            while part := s.recv(65536):
                answer += part
        except ConnectionResetError:
            pass
        return answer


def accepts(path):
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(path) == 0


def first_status(answer):
    line = answer.split(b"\r\n", 1)[0].split(b" ")
    return int(line[1]) if len(line) > 1 else 0


class Nginx:
    name = "nginx"

    def __init__(self, folder):
        self.recorder = Recorder(f"{folder}/upstream.sock")
        self.path = f"{folder}/nginx.sock"
        conf = pathlib.Path(folder, "nginx.conf")
        conf.write_text(NGINX_CONF.format(dir=folder))
        self.process = subprocess.Popen(["nginx", "-p", folder, "-c", str(conf)],
                                        stderr=open(f"{folder}/nginx.err", "wb"))
        until = time.monotonic() + PATIENCE_S
        while not accepts(self.path):
            if self.process.poll() is not None or time.monotonic() > until:
                sys.exit("nginx did not start: " + pathlib.Path(folder, "nginx.err").read_text())
            time.sleep(0.01)

    def ask(self, sent):
        status = first_status(exchange(self.path, sent))
        return self.recorder.take(), status


class Node:
    name = "node"

    def __init__(self, folder):
        self.path = f"{folder}/node.sock"
        self.process = subprocess.Popen(["node", "-e", NODE_SERVER, self.path], stdout=subprocess.PIPE,
                                        text=True)
        if self.process.stdout.readline() != "ready\n":
            sys.exit("node did not start")

    def ask(self, sent):
        status = first_status(exchange(self.path, sent))
        seen = []
        while one := json.loads(self.process.stdout.readline()):
            seen.append(one)
        return seen, status


def ours(program, sent):
    lines = subprocess.run([program], input=sent, stdout=subprocess.PIPE, check=True).stdout.splitlines()
    *requests, verdict = map(json.loads, lines)
    return requests, verdict


def compare(row, want, server):
    """A sentence about the difference, or None."""
    got, status = server.ask(row.sent)
    refusal = getattr(row, server.name)
    got = [{**r, "target": origin_form(r["target"])} for r in got]
    if refusal:
        if (f"refuse {status}" == refusal and not got) or got == want:
            return None  # other versions of it are not as strict: what they read must be what we read
        return f"was to {refusal}, answered {status} and passed {got}"
    return None if got == want else f"answered {status}, passed {got}, not {want}"


def main():
    missing = [p for p in ("nginx", "node") if not shutil.which(p)]
    if missing:
        print(f"skipped: {' and '.join(missing)} not installed")
        sys.exit(77)
    passing = [row for row in rows.read_all() if row.codec == "pass"]
    asked = failed = refused = 0
    with tempfile.TemporaryDirectory() as folder:
        servers = [Nginx(folder), Node(folder)]
        try:
            for row in passing:
                want, verdict = ours(sys.argv[1], row.sent)
                if verdict["codec"] != "pass":
                    print(f"{row.place} {row.id}: our codec says {verdict}")
                    failed += 1
                    continue
                for server in servers:
                    difference = compare(row, want, server)
                    asked += 1
                    refused += bool(getattr(row, server.name))
                    if difference:
                        print(f"{row.place} {row.id}: {server.name} {difference}")
                        failed += 1
        finally:
            for server in servers:
                server.process.terminate()
                server.process.wait()
    print(f"{len(passing)} rows that pass, {asked} questions, {refused} known refusals, {failed} differences")
    sys.exit(failed > 0 or not passing)


if __name__ == "__main__":
    main()
