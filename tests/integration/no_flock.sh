#!/usr/bin/env bash
# A run on a file system without flock: while its controller lives, `status` says so, and `prune` and `resume` are
# refused; when the controller has been killed, `status` says "interrupted" soon, and `resume` carries the run on.
#
# usage: no_flock.sh LIBRARY DIRECTORY CONFIG PORT
# LIBRARY makes flock fail with ENOSYS; CONFIG is of a run called `digits`, whose epochs wait while DIRECTORY/hold
# exists. PYTHON is the interpreter. To be started where the run's workload can be imported.
set -euo pipefail
directory=$2 config=$3 scheduler=tcp://127.0.0.1:$4
export LD_PRELOAD=$1 DASK_DISTRIBUTED__WORKER__DAEMON=False

fail() { echo "FAILED: $1" >&2; tail -n 40 "$directory"/*.log >&2; exit 1; }
evodevo() { "$PYTHON" -m evodevo "$@"; }
here() { evodevo "$@" --runs-dir "$directory/runs"; }
state() { here status digits --json | "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)[0]["state"])'; }
until_true() {  # seconds, what, command...
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do ((SECONDS < end)) || fail "$what did not happen"; sleep 0.3; done
}

"$PYTHON" -c 'import fcntl, sys
try: fcntl.flock(sys.stdin, fcntl.LOCK_SH)
except OSError as why: sys.exit(why.errno != 38)
sys.exit(1)' </dev/null || fail "flock works here"
"$PYTHON" -m dask scheduler --host 127.0.0.1 --port "$4" --dashboard-address 127.0.0.1:0 \
    --preload evodevo.service --runs-dir "$directory/runs" >"$directory/scheduler.log" 2>&1 &
controller=$!
until_true 180 "the scheduler's start" grep -q "Scheduler at" "$directory/scheduler.log"
"$PYTHON" -m dask worker "$scheduler" --host 127.0.0.1 --nthreads 1 --memory-limit 0 \
    --dashboard-address 127.0.0.1:0 --local-directory "$directory" --no-nanny \
    --preload workers.preload >"$directory/worker.log" 2>&1 &
worker=$!
evodevo launch "$config" --detach --scheduler "$scheduler" >"$directory/launch.log" 2>&1 || fail "the launch"

who="process $controller on $(hostname) (its heartbeat continues; this file system has no locks)"
[[ $(state) == running ]] || fail "status says $(state) of a live run"
says_who() { here status digits --json | grep -qF "$who"; }
until_true 180 "how status knows" says_who
for command in prune resume; do
    code=0
    here "$command" digits >"$directory/$command.log" 2>&1 || code=$?
    [[ $code == 2 ]] || fail "$command ended with status $code"
    tr -d '\n' <"$directory/$command.log" | grep -qF -e "running, carried out by $who" -e "being carried out by $who" || fail "$command says something else"
done

kill -9 "$controller"
kill -9 "$worker"
rm "$directory/hold"
began=$SECONDS
is_interrupted() { [[ $(state) == interrupted ]]; }
until_true 180 "the interruption" is_interrupted
after=$((SECONDS - began))
here resume digits --workers 1 >"$directory/resume.log" 2>&1 || fail "the resumption"
[[ $(state) == done ]] || fail "status says $(state) of a run that is done"
[[ ! -e $directory/runs/digits/controller.json ]] || fail "controller.json was left behind"
echo "refused while it was live, interrupted $after s after the kill, and carried on"
