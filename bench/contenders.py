# SPDX-License-Identifier: Apache-2.0
"""The engines, and what stands in front of them: inferd, nginx, HAProxy, the floor. Each gateway is one
worker thread with keep-alive to the engine, no waiting for more bytes, and no access log, but for
inferd, which writes its own to a file as it always does."""

import json
import os

import rig

# What a small chat completion looks like on the wire: 350 bytes.
COMPLETION = ('{"id":"chatcmpl-7QyqpwdfhqwajicIEznoc6Q47XAyW","object":"chat.completion","created":1755000000,'
              '"model":"tiny","choices":[{"index":0,"message":{"role":"assistant","content":"Once upon a time there was '
              'a relay that added nothing to what it was given."},"finish_reason":"stop"}],'
              '"usage":{"prompt_tokens":9,"completion_tokens":17,"total_tokens":26}}')

NGINX = """
worker_processes 1;
worker_rlimit_nofile {files};
daemon off;
pid {folder}/{name}.pid;
error_log {folder}/{name}.error;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_timeout 3600s;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/{name}-body;
    proxy_temp_path {folder}/{name}-proxy;
    fastcgi_temp_path {folder}/{name}-fastcgi;
    uwsgi_temp_path {folder}/{name}-uwsgi;
    scgi_temp_path {folder}/{name}-scgi;
    client_body_buffer_size 256k;
    client_max_body_size 0;
{http}
}}
"""

STATIC = """
    server {{
        listen 0.0.0.0:{port} backlog=4096;
        listen unix:{socket} backlog=4096;
        location / {{ default_type application/json; return 200 '{completion}'; }}
    }}
"""

PROXY = """
    upstream engine {{ server {upstream}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 3600s; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://engine;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 3600s;
        }}
    }}
"""

HAPROXY = """
global
    nbthread 1
    maxconn {maxconn}
defaults
    mode http
    option http-no-delay
    option http-keep-alive
    http-reuse always
    timeout connect 5s
    timeout client 3600s
    timeout server 3600s
    timeout http-keep-alive 3600s
frontend f
    bind 127.0.0.1:{port} backlog 4096
    default_backend engine
backend engine
    server e {upstream}
"""

INFERD = """
lanes = 1
[[listen]]
address = "127.0.0.1:{port}"
[[remote]]
name = "engine"
kind = "openai"
url = "{upstream}"
models = ["tiny"]
[keys]
file = "{keys}"
[limits]
connections = {connections}
"""


def write_inferd(folder, port, url, connections, more=""):
    """inferd.toml and its keys."""
    with open(f"{folder}/inferd.toml", "w", encoding="utf-8") as f:
        f.write(INFERD.format(port=port, upstream=url, keys=f"{folder}/keys.toml", connections=connections) + more)
    with open(os.open(f"{folder}/keys.toml", os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as f:
        f.write(rig.KEYS)


def run_nginx(folder, name, http, files):
    path = f"{folder}/{name}.conf"
    with open(path, "w", encoding="utf-8") as f:
        f.write(NGINX.format(folder=folder, name=name, http=http, files=files, connections=files - 50))
    return ["nginx", "-c", path, "-e", f"{folder}/{name}.error", "-p", folder]


class StaticEngine(rig.Process):
    """nginx that says the same completion to everybody, over TCP and a Unix socket."""

    def __init__(self, folder, files):
        self.port, self.socket = rig.free_port(), f"{folder}/static.sock"
        self.tcp, self.unix = f"127.0.0.1:{self.port}", f"unix:{self.socket}"
        http = STATIC.format(port=self.port, socket=self.socket, completion=COMPLETION)
        super().__init__(run_nginx(folder, "static", http, files), folder, "static", lambda: rig.get(self.tcp) == 200)


class MockEngine:
    """Two `inferd mock`, one on TCP, one on a Unix socket: the same otherwise."""

    def __init__(self, program, folder, name, *args):
        self.port, self.socket = rig.free_port(), f"{folder}/{name}.sock"
        self.tcp, self.unix = f"127.0.0.1:{self.port}", f"unix:{self.socket}"
        common = [program, "mock", "--name", "engine", "--models", "tiny", *args]
        env = dict(os.environ, INFERD_LOG="warn")
        self.processes = [
            rig.Process([*common, "--port", self.port], folder, f"{name}-tcp", lambda: rig.get(self.tcp) == 200, env),
            rig.Process([*common, "--socket", self.socket], folder, f"{name}-unix", lambda: rig.get(self.unix) == 200, env),
        ]
        os.chmod(self.socket, 0o666)  # a gateway that was started by root becomes somebody else

    def stop(self):
        for p in self.processes:
            p.stop()


class Gateway(rig.Process):
    """Listens on `address`, relays to `upstream`."""

    def __init__(self, command, folder, name):
        super().__init__(command, folder, name, lambda: rig.get(self.address) > 0)


class Floor(Gateway):
    title = "floor"

    def __init__(self, conf, upstream, tag):
        self.address = f"127.0.0.1:{rig.free_port()}"
        super().__init__([conf.floor, self.address, upstream], conf.folder, f"floor-{tag}")


class Nginx(Gateway):
    title = "nginx"

    def __init__(self, conf, upstream, tag):
        port = rig.free_port()
        self.address = f"127.0.0.1:{port}"
        name = f"nginx-{tag}"
        http = PROXY.format(port=port, upstream=upstream)
        super().__init__(run_nginx(conf.folder, name, http, conf.files), conf.folder, name)


class Haproxy(Gateway):
    title = "HAProxy"

    def __init__(self, conf, upstream, tag):
        port = rig.free_port()
        self.address = f"127.0.0.1:{port}"
        path = f"{conf.folder}/haproxy-{tag}.cfg"
        where = f"unix@{upstream[5:]}" if upstream.startswith("unix:") else upstream
        with open(path, "w", encoding="utf-8") as f:
            f.write(HAPROXY.format(port=port, upstream=where, maxconn=conf.files // 2 - 100))
        super().__init__(["haproxy", "-f", path, "-db"], conf.folder, f"haproxy-{tag}")


class Inferd(Gateway):
    title = "inferd"

    def __init__(self, conf, upstream, tag, more=""):
        port = rig.free_port()
        self.address = f"127.0.0.1:{port}"
        folder = f"{conf.folder}/inferd-{tag}"
        os.makedirs(folder, exist_ok=True)
        url = upstream if upstream.startswith("unix:") else f"http://{upstream}"
        write_inferd(folder, port, url, conf.files - 100, more)
        super().__init__([conf.program, "up", "--config", f"{folder}/inferd.toml", "--runtime-dir", f"{folder}/run",
                          "--state-dir", f"{folder}/state"], conf.folder, f"inferd-{tag}")
        rig.until(lambda: rig.get(self.address, "/ready") == 200, f"{self.name}: an engine is ready")


class Router(Gateway):
    """The same relay under the fabric's contract: one entry in a file, which is not probed."""

    title = "inferd router"

    def __init__(self, conf, upstream, tag):
        port = rig.free_port()
        self.address = f"127.0.0.1:{port}"
        host, _, at = upstream.partition(":")
        entries = [{"name": "engine", "host": host, "port": int(at), "health_url": "none",
                    "metadata": {"type": "openai-api", "models": ["tiny"]}}]
        path = f"{conf.folder}/router-{tag}.json"
        with open(path, "w", encoding="utf-8") as f:
            json.dump(entries, f)
        super().__init__([conf.program, "router", "--router-port", str(port), "--lanes", "1", "--static-services", path,
                          "--max-connections", str(conf.files - 100)], conf.folder, f"router-{tag}")


ALL = [Inferd, Nginx, Haproxy, Floor]
AS_ROUTER = [Inferd, Router, Nginx, Floor]
