# SPDX-License-Identifier: Apache-2.0
# The integration set-up: three babysitters that run an engine each which registers itself, too, a registry
# and a router; eight checks as a client sees them, then the end as launch scripts bring it about.

REGISTRY=http://127.0.0.1:8901 ROUTER=http://127.0.0.1:8900

sitter_file() { # letter port models
    cat >"$work/sitter_$1.toml" <<TOML
name = "babysitter-service-model-$1"
port = $2
registry_url = "$REGISTRY"
[babysitter]
max_restarts = 10
restart_delay = 2
heartbeat_interval = 10
[backend]
type = "command"
command = "inferd mock"
args = ["--name", "service-model-$1", "--port", "$2", "--models", "$3", "--registry-url", "$REGISTRY"]
TOML
}

end_state() { # 9 names in the registry, 6 entries of the router, 4 models
    named "$REGISTRY" 9 && named "$ROUTER" 6 && get "$ROUTER/models" && [ "$(count '"id":"')" = 4 ] &&
        says '"id":"model-a"' '"id":"model-b"' '"id":"model-c"' '"id":"model-shared"'
}

is_status_object() {
    get http://127.0.0.1:6002/health
    [ "$status" = 200 ] && says '"status":' && case $reply in '{'*'}') ;; *) false ;; esac
}

lists_models() {
    get "$ROUTER/models"
    [ "$status" = 200 ] && says '"data":[' && [ "$(count '"id":"')" -ge 4 ]
}

chat_in_three_tries() { # model
    for pause in 5 5 0; do
        chat_works "$ROUTER" "$1" && return
        sleep $pause
    done
    false
}

shared_reaches_both() {
    chat_works "$ROUTER" model-shared || return 1
    first=$(who)
    chat_works "$ROUTER" model-shared || return 1
    case "$first $(who)" in
    'service-model-a service-model-b' | 'service-model-b service-model-a') ;;
    *) echo "    reached $first and $(who)"; false ;;
    esac
}

unknown_is_503() {
    chat "$ROUTER" non-existent-model
    [ "$status" = 503 ] && says non-existent-model
}

cancelled() {
    get http://127.0.0.1:6001/health
    printf '%s\n' "$reply" | grep -q '"cancelled":[1-9]'
}

stream_is_left() { # after five lines; the engine's side ends, too, and others are served
    for attempt in 1 2 3; do # the whole stream takes half a second, in which a client may not be scheduled
        lines=$(curl -sN --max-time 20 -H 'content-type: application/json' \
            --data-binary '{"model":"model-a","stream":true,"messages":[]}' "$ROUTER/v1/chat/completions" | head -n 5)
        case $lines in *data:*) ;; *) return 1 ;; esac
        within 5 cancelled && chat_works "$ROUTER" model-a && return
    done
    false
}

phrases() { # what scripts look for in the logs
    logged router 'Registry sync' && logged router 'Fetched ' && logged router ' services from registry' &&
        logged router 'Health check completed' && logged router 'Proxying POST /v1/chat/completions (model: model-a)' &&
        logged router 'model: model-a' && logged sitter_a 'Service detected' && logged sitter_a 'Fetched 2 models' &&
        logged sitter_a registered && logged registry registered
}

babysitter_endpoints() {
    get http://127.0.0.1:6002/models
    [ "$status" = 200 ] && says '"data":[' '"id":"model-a"' || return 1
    get http://127.0.0.1:6002/info
    [ "$status" = 200 ] && says '"babysitter":"enhanced"' '"service":"babysitter-service-model-a"'
}

odd_requests_end() { # never a hang
    for request in "POST /v1/chat/completions {}" "POST /v1/chat/completions {\"model\":" "GET /nothing" "POST /v1/test {}"; do
        set -- $request
        send "$1" "$ROUTER$2" -H 'content-type: application/json' ${3:+--data-binary "$3"}
        case $status in 200 | 400 | 404 | 500 | 502 | 503) ;; *) echo "    $request: $status"; return 1 ;; esac
    done
}

# Children first, as launch scripts do it, then their babysitters and the rest.
all_end() {
    engines=
    for port in 6002 6004 6006; do
        get "http://127.0.0.1:$port/info"
        engines="$engines $(printf '%s\n' "$reply" | sed -n 's/.*"pid":\([0-9]*\).*/\1/p')"
    done
    set -- $engines
    [ $# = 3 ] || return 1
    kill -TERM "$@"
    finish sitter_a sitter_b sitter_c router registry || return 1
    gone "$@" || { echo "    an engine is left"; return 1; }
    for port in 6001 6002 6003 6004 6005 6006 8900 8901; do
        get "http://127.0.0.1:$port/health"
        [ "$status" = 'curl 7' ] || { echo "    somebody listens on $port"; return 1; }
    done
}

sitter_file a 6001 model-a,model-shared
sitter_file b 6003 model-b,model-shared
sitter_file c 6005 model-c
role registry registry --port 8901
check 'the registry answers within 3 s' within 3 answers "$REGISTRY/health"
for letter in a b c; do
    role "sitter_$letter" babysitter --config-file "$work/sitter_$letter.toml"
done
for port in 6002 6004 6006; do
    check "the babysitter on $port answers within 5 s" within 5 answers "http://127.0.0.1:$port/info"
done
role router router --router-port 8900 --registry-url "$REGISTRY" --health-interval 5 --registry-sync-interval 2
check 'the router answers within 3 s' within 3 answers "$ROUTER/health"
check 'three services are healthy within 25 s' within 25 healthy "$ROUTER" 3
check '9 names in the registry, 6 entries in the router, 4 models' within 10 end_state
check '1 the health of a babysitter has a status' is_status_object
check '2 the router lists four models' lists_models
check '3 chat with model-a' chat_in_three_tries model-a
check '4 chat with model-b' chat_in_three_tries model-b
check '5 two requests for model-shared reach both engines' shared_reaches_both
check '6 an unknown model is 503 and named' unknown_is_503
check '7 a client leaves a stream' stream_is_left
check '8 the router lists three services' healthy "$ROUTER" 3
check 'the phrases of the logs' phrases
check 'models and info of a babysitter' babysitter_endpoints
check 'odd requests have an end' odd_requests_end
check 'all end, children first, and nothing is left' all_end
