# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes API server in miniature, for tests. Start at main.py; README.md says what it does."""
