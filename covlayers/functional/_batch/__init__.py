"""Statistics and normalisation of batches, for the layers."""
