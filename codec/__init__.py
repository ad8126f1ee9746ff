"""What both sides share: schemas, records, guards, and streams of blocks that keep an error bound.

schema, guards, identity     what is said of a vehicle's signals
records, journal             sampled values, and their lossless packing
stream, stream_decoder       records to blocks and back: StreamEncoder, StreamDecoder
block, columns, models, ...  how a block is made, from its header down to the range coder
priors, training             what keyframes start from
"""
