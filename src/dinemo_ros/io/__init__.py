# SPDX-License-Identifier: Apache-2.0
"""Files, pictures, videos, bags and documents of strangers: read within limits, written whole or not at all."""
