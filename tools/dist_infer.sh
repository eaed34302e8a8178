#!/usr/bin/env bash
# Segment films in several processes that share them: one a GPU, or that many on the CPU.
#
#   tools/dist_infer.sh 8 study/ -o out
#   tools/dist_infer.sh 8 work_dirs/samus_tra study/ --coarse work_dirs/unet -o out
#
# Several machines, with OUT on a disk that all of them see, and ports: as in dist_train.sh. Under
# Slurm, one process a task: srun python tools/infer.py study/ -o out --launcher slurm
set -euo pipefail

if [[ $# -lt 4 ]]; then
    echo "usage: [NNODES= NODE_RANK= MASTER_ADDR= PORT=] $0 PROCESSES [MODEL [CHECKPOINT]] INPUT -o OUT [options of infer.py]" >&2
    exit 2
fi

source "$(dirname "${BASH_SOURCE[0]}")/_launch.sh"
run_processes "$1" infer.py "${@:2}"
