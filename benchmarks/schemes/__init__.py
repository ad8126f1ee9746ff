"""The schemes that are compared, each in a small module of its own: records to bytes, and back.

All take the same records, cut into the same blocks, and keep what they know from block to block; what they give back is
judged by one function, `benchmarks.values.judge`. `shelf.OTHERS` has those beside ours.
"""
