"""Everything of Bullion that touches tensors. Knows no HTTP and no job store."""
