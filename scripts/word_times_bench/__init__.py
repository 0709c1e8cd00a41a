"""How exact word times are for a voice that has none: what `scripts/bench_word_times` runs."""
