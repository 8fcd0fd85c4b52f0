# SPDX-License-Identifier: Apache-2.0
"""What ``dinemo bench`` and ``tests/benchmarks`` measure: times, start-up, memory, and other solvers on the same input.

Times on a shared machine wander by a factor of two. What is to be compared is therefore run side by side, turn about,
and reported as a ratio next to the milliseconds; the load of the machine is written down with them, and so is the
CPU time of all threads, which other people's work does not lengthen.
"""
