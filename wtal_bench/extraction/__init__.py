"""Videos -> features: decoding on a grid of constant rate, snippets, extractors, and the store they end in."""
