# SPDX-License-Identifier: Apache-2.0
# What the passes of test/acceptance/run are made of. Plain sh; sourced. The caller sets $names (inferd or
# infini: how roles are started), $work (a folder of its own) and $program.

passed=0 failed=0
slow=${ACCEPTANCE_SLOW:-1}
mkdir "$work/bin"
for name in inferd infini-registry infini-babysitter infini-router; do
    ln -s "$program" "$work/bin/$name"
done
PATH=$work/bin:$PATH
export PATH
# A program built with a sanitizer leaves its reports where the last check looks for them.
export ASAN_OPTIONS="log_path=$work/report:exitcode=86" UBSAN_OPTIONS="log_path=$work/report"
unset INFERD_CONFIG INFERD_REGISTRY_TOKEN_FILE
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY

# ---- verdicts ----

# check WHAT COMMAND...: one line. When it fails, with the last reply and what the programs said lately.
check() {
    what="$names: $1"
    shift
    status= reply=
    if "$@"; then
        passed=$((passed + 1))
        echo "ok $what"
        return 0
    fi
    failed=$((failed + 1))
    echo "FAILED $what"
    echo "    last reply: ${status:-none} $(printf %s "$reply" | head -c 400)"
    [ "$failed" -le 3 ] || return 1 # what went wrong first is told at length
    for log in "$work"/*.log; do
        echo "    -- $(basename "$log" .log)"
        tail -n 8 "$log" | cut -c 1-240 | sed 's/^/    /'
    done
    return 1
}

sums() {
    echo "$names: $passed passed, $failed failed"
}

# ---- time ----

now() { # whole seconds of a clock that nobody sets
    IFS='. ' read -r seconds rest </proc/uptime
    echo "$seconds"
}

# within SECONDS COMMAND...: asks ten times a second until it is true.
within() {
    end=$(($(now) + $1 * slow + 1))
    shift
    until "$@"; do
        [ "$(now)" -lt "$end" ] || return 1
        sleep 0.1
    done
}

# ---- processes: label -> $work/label.log and pid_label ----

ours= # pids that run or ran

start() { # label command...
    label=$1
    shift
    : >"$work/$label.log"
    "$@" >>"$work/$label.log" 2>&1 </dev/null &
    eval "pid_$label=$!"
    ours="$ours $!"
}

role() { # label role flags...: by the name of this pass
    if [ "$names" = infini ]; then
        label=$1 program_name=infini-$2
        shift 2
        start "$label" "$program_name" "$@"
    else
        label=$1
        shift
        start "$label" inferd "$@"
    fi
}

pid_of() { eval "echo \$pid_$1"; }

gone() { # pid...: none of them runs; one that ended and was not waited for yet has gone
    for pid in "$@"; do
        if [ -r "/proc/$pid/stat" ]; then
            case $(cat "/proc/$pid/stat" 2>/dev/null) in *') Z '* | '') ;; *) return 1 ;; esac
        fi
    done
}

# finish LABEL...: SIGTERM; true when each ended with status 0 within 10 s. SIGKILL for what did not.
finish() {
    fine=0
    for label in "$@"; do
        kill -TERM "$(pid_of "$label")" 2>/dev/null || { echo "    $label was not running any more"; fine=1; }
    done
    for label in "$@"; do
        pid=$(pid_of "$label")
        if ! within 10 gone "$pid"; then
            echo "    $label did not end within 10 s"
            kill -KILL "$pid"
            fine=1
        fi
        wait "$pid"
        code=$?
        [ $code = 0 ] || { echo "    $label ended with $code"; fine=1; }
        eval "pid_$label="
    done
    return $fine
}

abandon() { # whatever the reason: nothing that was started here stays
    for pid in $ours; do
        kill -TERM "$pid" 2>/dev/null && left=1
    done
    [ -z "${left:-}" ] || sleep 1
    for pid in $ours; do
        kill -KILL "$pid" 2>/dev/null
    done
    wait
}

PORTS="8900 8901 6001 6002 6003 6004 6005 6006 18000 8000 8100 8101 8200 8201 8300 8301 8400 8401 8500 8501"
ports_are_free() {
    for port in $PORTS; do
        curl -s -o "$work/ignored" --max-time 2 "telnet://127.0.0.1:$port" </dev/null
        [ $? = 7 ] || { echo "acceptance: port $port is taken"; return 1; }
    done
}

# ---- HTTP: $status and $reply hold the last answer ----

get() { # url
    status=$(curl -s -o "$work/reply" -w '%{http_code}' --max-time 10 "$1") || status="curl $?"
    reply=$(cat "$work/reply" 2>/dev/null)
}

send() { # method url [curl's words...]
    method=$1 url=$2
    shift 2
    : >"$work/reply"
    status=$(curl -s -o "$work/reply" -w '%{http_code}' --max-time 10 -X "$method" "$@" "$url") || status="curl $?"
    reply=$(cat "$work/reply")
}

post() { # url json, or url @file
    send POST "$1" -H 'content-type: application/json' --data-binary "$2"
}

answers() { # url: 200, as `curl -f` sees it
    get "$1"
    [ "$status" = 200 ]
}

says() { # text...: the last reply holds each of them
    for text in "$@"; do
        case $reply in *"$text"*) ;; *) return 1 ;; esac
    done
}

count() { # text: how often it stands in the last reply
    printf '%s\n' "$reply" | grep -oF -- "$1" | wc -l
}

logged() { # label text; records are written within 100 ms
    within 1 grep -qF -- "$2" "$work/$1.log"
}

chat() { # router model [more members]: asks once
    post "$1/v1/chat/completions" \
        "{\"model\":\"$2\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]${3:-}}"
}

chat_works() { # router model
    chat "$1" "$2"
    [ "$status" = 200 ] && says '"choices"' "\"model\":\"$2\""
}

who() { # the engine that gave the last reply: "Hello from <name> (model: ...)"
    printf '%s\n' "$reply" | sed -n 's/.*Hello from \([^ ]*\) (model.*/\1/p'
}

# ---- tables ----

healthy() { # router n: at least n of its entries are
    get "$1/services"
    [ "$(count '"healthy":true')" -ge "$2" ]
}

named() { # url n: exactly n names are listed there
    get "$1/services"
    [ "$(count '"name":"')" = "$2" ]
}

registered() { # registry name...
    get "$1/services"
    shift
    for name in "$@"; do
        says "\"name\":\"$name\"" || return 1
    done
}
