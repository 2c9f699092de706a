"""Run a command that cannot outlive its owner, on Linux and macOS alike.

Run as a script: `python -I -S tether.py OWNER_PID COMMAND…`, with a pipe from the owner as its
standard input. It forks a watcher and then becomes COMMAND, so the command keeps this process's id.
The watcher kills the command when the pipe closes or the owner is gone, also after SIGKILL of the
owner, and leaves when the command has ended. Where the command leads a process group, what it has
forked is killed with it.
"""

import os
import select
import signal
import sys

POLL_S = 0.5


def is_alive(pid: int) -> bool:
    """Whether a process with this id exists (one that has ended but was not reaped counts)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def is_open(pipe: int, wait_s: float) -> bool:
    """Wait up to `wait_s` seconds and tell whether the other end of `pipe` is still held."""
    readable, _, _ = select.select([pipe], [], [], wait_s)
    return not readable or bool(os.read(pipe, 1))


def watch(owner: int, server: int, pipe: int) -> None:
    """Kill `server`, the parent of this process, once `owner` is gone; end with either.

    With a group of its own the whole group is killed, this process included.
    """
    # A process forked by the owner may hold the pipe open after its death: hence both tests.
    while is_open(pipe, POLL_S) and is_alive(owner):
        if os.getppid() != server:
            return
    if os.getppid() == server:
        leads = os.getpgid(server) == server
        (os.killpg if leads else os.kill)(server, signal.SIGKILL)


def become(command: list[str]) -> None:
    """Replace this process by `command`, with an empty standard input."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    try:
        os.execvp(command[0], command)  # noqa: S606 - the owner's own command, no shell wanted
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


def main(owner: int, command: list[str]) -> None:
    """Fork the watcher, then become the command."""
    server = os.getpid()
    if os.fork() == 0:
        watch(owner, server, 0)
        os._exit(0)
    become(command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
