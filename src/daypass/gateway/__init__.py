"""The gate where Kubernetes has to be asked: the decision, TokenReview, the ext_authz transport.

The decision is a pure function of numbered steps. A transport carries questions and answers and
decides nothing.
"""
