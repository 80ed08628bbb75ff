"""Fails unless the default run on the embedded surfaces reaches what README promises: check_metrics.py
METRICS_JSON
"""

import json
import sys

LEAST = {"image_auroc": 0.90, "pixel_auroc": 0.85}

metrics = json.load(open(sys.argv[1]))
short = {name: metrics[name] for name, least in LEAST.items() if metrics[name] < least}
print({name: round(metrics[name], 4) for name in LEAST}, "seconds of training:", metrics["train_seconds"])
sys.exit(f"below {LEAST}: {short}" if short else 0)
