# SPDX-License-Identifier: Apache-2.0
"""What is known of the scene beside the picture: the plane that objects stand on, and a depth image."""
