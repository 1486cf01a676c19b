"""Covariance pooling layers, and the head that holds one."""
