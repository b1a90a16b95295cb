# SPDX-License-Identifier: Apache-2.0
# Further habits of those who use the original: static files, clients of their own at the registry, engines
# behind wrappers, exposure, flags.

REGISTRY=http://127.0.0.1:8901 ROUTER=http://127.0.0.1:8900

static_backend_down() { # listed, and 503 for whoever asks
    cat >"$work/static.json" <<JSON
{"router":{"port":1},"static_services":{"services":[{"name":"down","host":"127.0.0.1","port":8500,"weight":1,
"metadata":{"type":"openai-api","models":["m"]}}]}}
JSON
    role router router --router-port 8900 --static-services "$work/static.json"
    within 60 answers "$ROUTER/health" || return 1
    get "$ROUTER/services"
    says '"name":"down"' '"origin":"static"' || return 1
    send GET "$ROUTER/v1/chat/completions"
    [ "$status" = 503 ] || return 1
    post "$ROUTER/v1/test" '{}'
    [ "$status" = 503 ] && logged router 'Proxying GET /v1/chat/completions' && logged router 'Proxying POST /v1/test' &&
        finish router
}

other_client() { # registers without models, beats, leaves
    post "$REGISTRY/services" '{"name":"own","host":"127.0.0.1","hostname":"localhost","port":8500,"url":"http://127.0.0.1:8500","status":"running","metadata":{"type":"openai-api"}}'
    [ "$status" = 201 ] && says "Service 'own' registered successfully" || return 1
    send POST "$REGISTRY/services/own/heartbeat"
    [ "$status" = 200 ] || return 1
    send POST "$REGISTRY/services/own/heartbeat" -H 'content-length: 0'
    [ "$status" = 200 ] || return 1
    send POST "$REGISTRY/services/own/heartbeat" -H 'content-type: application/octet-stream'
    [ "$status" = 200 ] || return 1
    send DELETE "$REGISTRY/services/own"
    [ "$status" = 200 ] && get "$REGISTRY/services/own" && [ "$status" = 404 ]
}

# An engine behind `conda run -n env python script`: a wrapper that starts a wrapper and passes no signal on.
wrapped_engine() {
    cat >"$work/bin/conda" <<'SH'
#!/bin/sh
shift 3
"$@" &
wait $!
SH
    cat >"$work/bin/python" <<'SH'
#!/bin/sh
echo $$ >"$2"
exec inferd mock --name wrapped --port 8500 --models m
SH
    chmod +x "$work/bin/conda" "$work/bin/python"
    cat >"$work/wrapped.toml" <<TOML
name = "wrapped"
port = 8500
[backend]
type = "command"
command = "conda run -n env python"
args = ["launch_server.py", "$work/wrapped.pid"]
[backend.env]
PATH = "$PATH"
TOML
    role wrapped babysitter --config-file "$work/wrapped.toml"
    within 10 engine_is_ready || return 1
    engine=$(cat "$work/wrapped.pid")
    finish wrapped || return 1
    gone "$engine" || { echo "    the engine behind its wrapper is left"; kill -KILL "$engine"; return 1; }
}

engine_is_ready() {
    get http://127.0.0.1:8501/health
    says '"status":"healthy"'
}

exposed() { # the original's names warn once, inferd's own refuse
    if [ "$names" = infini ]; then
        [ "$(grep -c ' WARN .*exposed' "$work/registry.log")" = 1 ]
        return
    fi
    for flags in 'registry --port 8500' 'router --router-port 8500' "babysitter --config-file $work/wrapped.toml"; do
        inferd $flags --listen 0.0.0.0 >"$work/refusal" 2>&1
        [ $? = 1 ] || { echo "    inferd $flags was not refused"; return 1; }
    done
}

flags() { # --version and --help: 0; what is unknown: 2
    for name in registry router babysitter; do
        command="inferd $name"
        [ "$names" = inferd ] || command="infini-$name"
        $command --help >"$work/help" && $command --version >"$work/help" || return 1
        $command --no-such-flag >"$work/help" 2>&1
        [ $? = 2 ] || return 1
    done
}

no_reports() {
    cat "$work"/report* 2>/dev/null
    ! ls "$work"/report* >/dev/null 2>&1
}

check 'a static file with a backend that is down' static_backend_down
role registry registry --port 8901
within 60 answers "$REGISTRY/health"
check 'a client of its own at the registry' other_client
check 'an engine behind a wrapper ends with its babysitter' wrapped_engine
check 'exposure' exposed
check 'the end of the registry' finish registry
check 'flags' flags
check 'no sanitizer has a report' no_reports
sums
