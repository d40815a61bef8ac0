"""Parts of bench/train.py."""
