"""Samples, shards and manifests: written by generation, read by training and evaluation."""
