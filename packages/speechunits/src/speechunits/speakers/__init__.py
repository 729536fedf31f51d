"""Who speaks: speech to speaker embeddings, for the training of decoders that shall keep a voice."""
