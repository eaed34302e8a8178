# Shared by dist_train.sh, dist_test.sh, dist_infer.sh and slurm_train.sh: which Python, and where echozoo is.
# shellcheck shell=bash

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"

if [[ -z "${PYTHON:-}" ]]; then
    if [[ -z "${VIRTUAL_ENV:-}" && -z "${CONDA_PREFIX:-}" && -x "$ROOT/.venv/bin/python" ]]; then
        PYTHON="$ROOT/.venv/bin/python"
    else
        PYTHON=python3
    fi
fi

# Starts $1 processes of a tool on this machine: run_processes COUNT TOOL ARGUMENTS...
run_processes() {
    local count="$1"
    if [[ ! "$count" =~ ^[1-9][0-9]*$ ]]; then
        echo "error: GPUS is '$count'; give the number of GPUs (processes) on this machine" >&2
        exit 2
    fi
    # Without a GPU the processes share the cores.
    local cores
    cores="$(getconf _NPROCESSORS_ONLN)"
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$((cores > count ? cores / count : 1))}"
    export MKL_NUM_THREADS="${MKL_NUM_THREADS:-$OMP_NUM_THREADS}"
    exec "$PYTHON" -m echozoo.engine.torchrun \
        --nnodes="${NNODES:-1}" \
        --node-rank="${NODE_RANK:-0}" \
        --master-addr="${MASTER_ADDR:-127.0.0.1}" \
        --master-port="${PORT:-29500}" \
        --nproc-per-node="$count" \
        "$ROOT/tools/$2" "${@:3}" --launcher pytorch
}
