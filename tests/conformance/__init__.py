"""The conformance suite: what every backend promises, one test a rule.

``pytest --pyargs netcore.conformance --netcore-backend=NAME`` holds one backend to it, ours or
another package's; without the option every backend that is available.
"""
