#!/usr/bin/env bash
# Train in several processes: one a GPU, or that many on the CPU where there is no GPU.
#
#   tools/dist_train.sh configs/samus_tra.py 8 --data-root /data/CAMUS
#
# On several machines, on each of them with its own NODE_RANK from 0:
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=<first machine> tools/dist_train.sh CONFIG GPUS ...
# Two runs on one machine need two ports: PORT=29501 tools/dist_train.sh ...
set -euo pipefail

if [[ $# -lt 2 ]]; then
    echo "usage: [NNODES= NODE_RANK= MASTER_ADDR= PORT=] $0 CONFIG GPUS [options of train.py]" >&2
    exit 2
fi

source "$(dirname "${BASH_SOURCE[0]}")/_launch.sh"
run_processes "$2" train.py "$1" "${@:3}"
