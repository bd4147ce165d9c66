#!/usr/bin/env bash
# Table 6 on STL10-LT; arguments go to train.py: plan=true, seed=0, hydra/launcher=joblib_gpu, ...
set -euo pipefail
cd "$(dirname "$0")/.."
exec python train.py -m experiment=table6_stl10 "$@"
