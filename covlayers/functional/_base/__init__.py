"""What every other file stands on: errors, checks, precision, transforms, linear algebra."""
