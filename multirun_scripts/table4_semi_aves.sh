#!/usr/bin/env bash
# Table 4 on Semi-Aves; arguments go to train.py: plan=true, seed=0, hydra/launcher=joblib_gpu, ...
set -euo pipefail
cd "$(dirname "$0")/.."
exec python train.py -m experiment=table4_semi_aves "$@"
