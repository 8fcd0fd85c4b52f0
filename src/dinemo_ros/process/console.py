# SPDX-License-Identifier: Apache-2.0
"""What every command has around its work: standard streams as the world hands them over, signals, errors as sentences.

Exit codes: 0 done (also where the reader of the output went away, as ``head`` does), 1 an error, told in one line on
standard error, 128 + N ended by signal N.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, NoReturn, TextIO

from ..errors import DinemoError, OutputError
from ..io.quoting import harmless

_CLOSED = "standard output is closed; redirect it to a file, or to /dev/null where nobody wants it"


class Interrupted(KeyboardInterrupt):
    """SIGTERM or SIGHUP, so that files are closed and children ended as after Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run_command(work: Callable[[], int | None]) -> int:
    """Do the work of a command; returns its exit code, and lets the SystemExit of wrong usage pass."""
    _occupy_descriptors()
    with _streams(), _signals():
        try:
            code = work() or 0
            sys.stdout.flush()
            return code
        except SystemExit:
            _flush_at_exit()
            raise
        except DinemoError as error:
            return _failed(error)
        except KeyboardInterrupt as error:
            number = getattr(error, "number", signal.SIGINT)
            print("interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}",
                  file=sys.stderr)
            return 128 + number
        except BrokenPipeError:
            _drop(sys.stdout)
            return 0


def command_main(work: Callable[[], int | None]) -> NoReturn:
    """The end of a module that is a command: do the work, which prints, and leave with its exit code."""
    def printing() -> int | None:
        require_output()
        return work()

    sys.exit(run_command(printing))


def require_output() -> None:
    """OutputError now and not after the work, if standard output is closed."""
    if sys.stdout is None or sys.stdout.closed:
        raise OutputError(_CLOSED)


def _failed(error: DinemoError) -> int:
    print(f"error: {error}", file=sys.stderr)
    _drop(sys.stdout)
    return 1


def _flush_at_exit() -> None:
    """What --help printed; a full disk then is an error, too."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop(sys.stdout)
        raise SystemExit(0) from None
    except OutputError as error:
        raise SystemExit(_failed(error)) from None


class StandardOutput:
    """``sys.stdout`` whose lines leave at once, with no terminal control that a stranger put into a name, and whose
    failures are an OutputError."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    @property
    def closed(self) -> bool:
        return self._stream is None or self._stream.closed

    def write(self, text: str) -> int:
        """Write ``text`` with its terminal controls escaped, and flush with every line; the length of ``text``."""
        with self._told() as stream:
            words = harmless(text)
            try:
                stream.write(words)
            except UnicodeEncodeError:  # a terminal that knows ASCII alone
                encoding = stream.encoding or "ascii"
                stream.write(words.encode(encoding, "backslashreplace").decode(encoding))
            if "\n" in text:
                stream.flush()
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Each as by :meth:`write`."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Hand everything to whoever reads; nothing once it is closed."""
        if not self.closed:
            with self._told() as stream:
                stream.flush()

    @contextlib.contextmanager
    def _told(self) -> Iterator[TextIO]:
        if self._stream is None or self._stream.closed:
            raise OutputError(_CLOSED)
        try:
            yield self._stream
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"standard output cannot be written ({error.strerror or error})") from error

    def __getattr__(self, name: str) -> Any:
        if self._stream is None:
            raise AttributeError(name)
        return getattr(self._stream, name)


class StandardError:
    """``sys.stderr`` that is never a reason to stop: closed, full or without a reader, the work goes on."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write ``text`` with its terminal controls escaped, if that can be done; the length of ``text``."""
        with contextlib.suppress(OSError, ValueError):
            if self._stream is not None:
                self._stream.write(harmless(text, "\n\t\r"))  # bars of progress go back
        return len(text)

    def flush(self) -> None:
        """Hand everything to whoever reads, if there is somebody."""
        with contextlib.suppress(OSError, ValueError):
            if self._stream is not None:
                self._stream.flush()

    def isatty(self) -> bool:
        """Whether a person reads: a bar of progress is for a terminal only."""
        return self._stream is not None and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        if self._stream is None:
            raise AttributeError(name)
        return getattr(self._stream, name)


def _occupy_descriptors() -> None:
    """The next file that is opened must not become descriptor 1 or 2, where libraries print."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(handle, True)
    os.close(handle)


@contextlib.contextmanager
def _streams() -> Iterator[None]:
    errors = sys.stderr
    try:
        with contextlib.redirect_stdout(StandardOutput(sys.stdout)), contextlib.redirect_stderr(StandardError(errors)):
            yield
    finally:
        if errors is not None:
            _drop(errors)


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM and SIGHUP as an exception, once; the second one ends the process. What is ignored stays ignored."""
    before: list[signal.Signals] = []
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, _interrupt)
                before.append(number)
    try:
        yield
    finally:
        for number in before:
            signal.signal(number, signal.SIG_DFL)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise Interrupted(number)


def _drop(stream: TextIO | StandardOutput) -> None:
    """What is left in the buffer and cannot be written goes nowhere: Python would fail with 120 for it at its exit."""
    try:
        stream.flush()
    except (OSError, ValueError, OutputError):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
