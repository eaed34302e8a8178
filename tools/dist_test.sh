#!/usr/bin/env bash
# Test in several processes: one a GPU, or that many on the CPU where there is no GPU.
#
#   tools/dist_test.sh configs/samus_tra.py work_dirs/samus_tra 8 --data-root /data/CAMUS
#
# A run's folder is enough: tools/dist_test.sh work_dirs/samus_tra 8 --data-root /data/CAMUS
#
# Several machines and ports: as in dist_train.sh.
set -euo pipefail

if [[ -e "${1:-}" && "$1" != *.py && "${2:-}" =~ ^[0-9]+$ ]]; then
    set -- "$1" "" "${@:2}"
fi
if [[ $# -lt 3 ]]; then
    echo "usage: [NNODES= NODE_RANK= MASTER_ADDR= PORT=] $0 [CONFIG] CHECKPOINT GPUS [options of test.py]" >&2
    exit 2
fi

source "$(dirname "${BASH_SOURCE[0]}")/_launch.sh"
run_processes "$3" test.py "$1" "$2" "${@:4}"
