#!/usr/bin/env bash
# Two jobs on one node, each of which sees its own GPU as number 0: both get work. A third one, with the GPU of the
# second, does not, and everybody says why. The GPUs are made up; $1 says how workers learn which one theirs is.
#
# usage: devices_of_jobs.sh nvml|nvidia-smi|slurm DIRECTORY CONFIG PORT
# DIRECTORY has libnvidia-ml.so.1 or nvidia-smi, as needed; CONFIG is of a run called `jobs`, whose workload needs no
# GPU. PYTHON is the interpreter.
set -euo pipefail
how=$1 directory=$2 config=$3 scheduler=tcp://127.0.0.1:$4
export TMPDIR=$directory/node LD_LIBRARY_PATH=$directory${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} PATH=$directory:$PATH
export DASK_DISTRIBUTED__WORKER__DAEMON=False DASK_DISTRIBUTED__DIAGNOSTICS__NVML=False
mkdir "$TMPDIR"
cd "$directory"

fail() { echo "FAILED: $1" >&2; tail -n 40 ./*.log >&2; exit 1; }
evodevo() { "$PYTHON" -m evodevo "$@" --scheduler "$scheduler"; }
until_true() {  # seconds, what, command...
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do ((SECONDS < end)) || fail "$what did not happen"; sleep 0.3; done
}

job() {  # NAME GPU NUMBER: a job's worker, which sees only that GPU, the node's number NUMBER
    local -a more=(FAKE_GPUS="$2")
    [[ $how == slurm ]] && more=(SLURM_JOB_ID="1$3" SLURM_JOB_GPUS="$3")
    env "${more[@]}" CUDA_VISIBLE_DEVICES=0 "$PYTHON" -m dask worker "$scheduler" --host 127.0.0.1 --nthreads 1 \
        --memory-limit 0 --dashboard-address 127.0.0.1:0 --no-dashboard --local-directory "$directory" --name "$1" \
        --preload workers.preload --preload-nanny workers.nanny >"$1.log" 2>&1 &
}

"$PYTHON" -m dask scheduler --host 127.0.0.1 --port "$4" --dashboard-address 127.0.0.1:0 \
    --preload evodevo.service --runs-dir "$directory/runs" >scheduler.log 2>&1 &
until_true 180 "the scheduler's start" grep -q "Scheduler at" scheduler.log
job one GPU-aa 2
job two GPU-bb 3
until_registered() { [[ $(grep -c "Register worker" scheduler.log) -ge $1 ]]; }
until_true 180 "the start of two workers" until_registered 2

evodevo launch "$config" --no-progress >launch.log 2>&1 || fail "the run"
workers=$(cut -d, -f"$(head -1 runs/jobs/history.csv | tr , '\n' | grep -nx worker | cut -d: -f1)" \
    runs/jobs/history.csv | tail -n +2 | sort -u | wc -l)
[[ $workers == 2 ]] || fail "members were trained on $workers workers and not on 2"
! grep -q "gets no work" scheduler.log || fail "a worker got no work"

job three GPU-bb 3
until_true 180 "the refusal of the third worker" grep -q "gets no work" scheduler.log
evodevo status >status.log 2>&1 || fail "status"
case $how in slurm) name="0 = number 3 of the node" ;; *) name="0 = GPU-bb" ;; esac
said="all devices ($name by process [0-9]*) are in use by other workers: start one worker per device"
grep -q "no work for worker tcp://127.0.0.1:[0-9]*: $said" status.log || fail "status does not say why"
echo "both got work, and the third was told: $(grep -o "all devices.*" status.log)"
