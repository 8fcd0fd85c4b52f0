# SPDX-License-Identifier: Apache-2.0
"""The process around the work: standard streams, threads, caches, child interpreters, privacy."""
