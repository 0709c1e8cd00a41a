"""How fast CSM is on this machine: what `scripts/bench_csm` runs."""
