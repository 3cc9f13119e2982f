"""Decoding: engines that turn tokens into logits, and the loop that turns logits into text."""
