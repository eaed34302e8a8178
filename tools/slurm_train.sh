#!/usr/bin/env bash
# Train under Slurm: one task a GPU.
#
#   GPUS=16 GPUS_PER_NODE=8 tools/slurm_train.sh gpu_partition my_run configs/samus_tra.py \
#       --data-root /data/CAMUS
#
# GPUS=0 asks for no GPU: TASKS processes (default 1) on the CPU.
set -euo pipefail

if [[ $# -lt 3 ]]; then
    echo "usage: [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5 SRUN_ARGS=] $0 PARTITION JOB CONFIG [options of train.py]" >&2
    exit 2
fi

GPUS="${GPUS:-8}"
TASKS="${TASKS:-$((GPUS > 0 ? GPUS : 1))}"
PER_NODE="${GPUS_PER_NODE:-8}"
PER_NODE="$((PER_NODE < TASKS ? PER_NODE : TASKS))"
GRES=()
if ((GPUS > 0)); then
    GRES=(--gres="gpu:$PER_NODE")
fi

source "$(dirname "${BASH_SOURCE[0]}")/_launch.sh"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-${CPUS_PER_TASK:-5}}"
export MKL_NUM_THREADS="${MKL_NUM_THREADS:-$OMP_NUM_THREADS}"
# SRUN_ARGS is a list of words on purpose.
# shellcheck disable=SC2086
exec srun \
    --partition="$1" \
    --job-name="$2" \
    ${GRES[@]+"${GRES[@]}"} \
    --ntasks="$TASKS" \
    --ntasks-per-node="$PER_NODE" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    "$PYTHON" -u "$ROOT/tools/train.py" "$3" "${@:4}" --launcher slurm
