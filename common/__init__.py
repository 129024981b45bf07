"""What every part of Pronghorn shares: the record types, the wire, the weights, configuration, errors.

Imports nothing of ours and neither torch nor vllm nor transformers.
"""
