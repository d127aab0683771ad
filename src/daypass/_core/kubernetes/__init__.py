"""Kubernetes' vocabulary: objects, their labels, what is a valid name or token, and errors."""
