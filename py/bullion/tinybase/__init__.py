"""`bullion-tiny`, the base that the project makes itself: corpus, tokenizer, pre-training, probe.

For a demo and tests on a laptop without a GPU. Nothing ever falls back to it: it is loaded where its
name, or an alias of configs/models.tiny.yaml, is asked for. The rest of the package knows it as a
folder of weights like any other.
"""
