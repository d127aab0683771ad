"""The one seam to a Kubernetes client library, for admin work: config, errors, apply, watch.

Whatever talks to an API server as an admin does it through here, so that the library behind it can
be changed in one place. The client that people embed never imports this package.
"""
