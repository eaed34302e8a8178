#!/usr/bin/env bash
# What a GPU is for: speed against the published code, then the systems at full size on the stills.
#
#   tools/full_size.sh CAMUS OUT                                   # mixed precision, one GPU
#   tools/full_size.sh CAMUS OUT --scale tiny --cfg-options train_cfg.max_epochs=1    # a trial run
#
# Further options go to tools/run_table.py. The same command again goes on where it was interrupted.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,7p' "$0" >&2; exit 2; }
data=$1 out=$2
shift 2
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python}
mkdir -p "$out"

if "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    [ -d "$out/published" ] || git clone -q https://github.com/xianlin7/SAMUS "$out/published"
    [ -e "$out/speed" ] || "$python" tools/benchmark.py forward train \
        --against "$out/published" --batch 1 8 --amp --compile -o "$out/speed"
    [ -e "$out/frames" ] || "$python" tools/benchmark.py forward --config configs/samus_tra.py \
        --frames 1 2 4 8 16 --amp -o "$out/frames"
    set -- --amp bf16 "$@"
else
    echo "no GPU: speed is not measured, and training is in float32" >&2
fi
exec "$python" tools/run_table.py configs/tables/full_size.py --data-root "$data" \
    --work-dirs "$out/runs" -o "$out/tables" "$@"
