# SPDX-License-Identifier: Apache-2.0
# What validators of deployments look at with curl and grep: registry on 18000, router on 8000, babysitters
# with the wildcard as host. Three of them: integration, affinity of sessions, classes of engines.

REGISTRY=http://127.0.0.1:18000 ROUTER=http://127.0.0.1:8000

fabric() { # sitters...: label:name:port, with $work/<label>.toml; flags as launch scripts give them
    role registry registry --port 18000 --health-interval 30 --health-timeout 5 --cleanup-interval 60
    within 60 answers "$REGISTRY/health" || return 1
    role router router --router-port 8000 --registry-url "$REGISTRY" --health-interval 30 --health-timeout 5 \
        --registry-sync-interval 1
    for label in "$@"; do
        role "$label" babysitter --config-file "$work/$label.toml" --host 0.0.0.0 --registry-url "$REGISTRY" \
            --router-url "$ROUTER"
    done
    within 60 answers "$ROUTER/health"
}

mock_file() { # label name port models [metadata lines]
    cat >"$work/$1.toml" <<TOML
name = "$2"
host = "0.0.0.0"
port = $3
[backend]
type = "mock"
models = [ $4, ] # as real files have it
[metadata]
${5:-}
TOML
}

grep_tables() { # names and ids, by grep in compact JSON
    get "$REGISTRY/services"
    [ "$(count '"name"')" -ge 4 ] && says '"name":"babysitter-a"' '"name":"babysitter-d-server"' &&
        get "$ROUTER/models" && says '"id":"model-1"' '"id":"model-2"' '"object":"list"'
}

four_replies() { # for model-1, all of them well
    for n in 1 2 3 4; do
        chat_works "$ROUTER" model-1 && says mock-service model-1 || return 1
    done
    chat_works "$ROUTER" model-2 && says mock-service model-2
}

reached() { # n [more members]: the engines that n requests reach, each once, in one line
    for n in $(seq "$1"); do
        chat "$ROUTER" 9g_8b_thinking "${2:-}"
        says '"object"' || { echo "no reply: $status"; return; }
        who
    done | sort -u | tr '\n' ' '
}

affinity() { # one key: one engine; no key: both
    for key in alpha beta gamma; do
        case $(reached 10 ",\"prompt_cache_key\":\"$key\"") in
        'master-9g_8b_thinking ' | 'slave-9g_8b_thinking ') ;;
        *) return 1 ;;
        esac
    done
    [ "$(reached 10)" = 'master-9g_8b_thinking slave-9g_8b_thinking ' ]
}

of_size() { # bytes name: such a request reaches that engine
    {
        printf '{"model":"9g_8b_thinking","messages":[{"role":"user","content":"'
        head -c "$1" /dev/zero | tr '\0' a
        printf '"}]}'
    } >"$work/request"
    post "$ROUTER/v1/chat/completions" "@$work/request"
    [ "$status" = 200 ] && [ "$(who)" = "$2" ]
}

for letter in a b c d; do
    case $letter in a) at=8100 of=1 ;; b) at=8200 of=2 ;; c) at=8300 of=1 ;; d) at=8400 of=2 ;; esac
    cat >"$work/mock_$letter.toml" <<TOML
name = "babysitter-$letter"
port = $at
[backend]
type = "command"
command = "inferd"
args = ["mock", "--name", "mock-service-$letter", "--port", "$at", "--models", "model-$of"]
TOML
done
check 'integration: registry and router answer' fabric mock_a mock_b mock_c mock_d
check 'integration: four engines are healthy' within 25 healthy "$ROUTER" 4
check 'integration: names and ids are found by grep' within 10 grep_tables
check 'integration: four requests for a model' four_replies
check 'integration: the end' finish mock_a mock_b mock_c mock_d router registry

mock_file master master-9g_8b_thinking 8100 '"9g_8b_thinking"'
mock_file slave slave-9g_8b_thinking 8200 '"9g_8b_thinking"'
check 'affinity: registry and router answer' fabric master slave
check 'affinity: health on 8101 and 8201' eval 'within 5 answers http://127.0.0.1:8101/health && within 5 answers http://127.0.0.1:8201/health'
check 'affinity: both are registered' within 25 registered "$REGISTRY" master-9g_8b_thinking-server slave-9g_8b_thinking-server
check 'affinity: both are healthy' within 25 healthy "$ROUTER" 2
check 'affinity: the model is listed' eval 'get "$ROUTER/models"; says "\"id\":\"9g_8b_thinking\""'
check 'affinity: a key sticks to one engine, without one both are reached' affinity
check 'affinity: the end' finish master slave router registry

mock_file paged paged-cache-9g_8b_thinking 8100 '"9g_8b_thinking"' 'cache_type = "paged"
static = false'
mock_file static static-cache-9g_8b_thinking 8200 '"9g_8b_thinking"' 'cache_type = "static"
static = true'
check 'class: registry and router answer' fabric paged static
check 'class: both are healthy' within 25 healthy "$ROUTER" 2
check 'class: a small request reaches the paged engine' of_size 20 paged-cache-9g_8b_thinking
check 'class: one of 60,000 bytes reaches the static engine' of_size 60000 static-cache-9g_8b_thinking
check 'class: one at the threshold stays small' of_size 51200 paged-cache-9g_8b_thinking
check 'class: the end' finish paged static router registry
