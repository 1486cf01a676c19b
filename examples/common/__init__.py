"""What the examples have in common: data, training, comparison and drawing."""
