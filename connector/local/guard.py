"""Run a command that ends when the process that asked for it ends, however that ends.

Run as a script, by path and without the package: ``guard.py LIFELINE COMMAND…``.
LIFELINE is the reading end of a pipe whose other end only the owner holds, so
it reads end-of-file when the owner is gone: by return, signal or ``kill -9``.

The process becomes the command (same pid, same exit status). Before, it leaves
behind a small watcher, which kills the command at that end-of-file. The
watcher ends with the command: it reads a second pipe that the command holds.
Linux's PR_SET_PDEATHSIG would not do: it fires when the *thread* that started
the command ends.
"""

import os
import select
import signal
import sys


def watch(lifeline: int, command_is_gone: int, command_pid: int) -> None:
    """Return when the command is gone, having killed it if the owner was gone first."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    for standard in (0, 1, 2):
        os.close(standard)
    readable, _, _ = select.select([lifeline, command_is_gone], [], [])
    # The command is our parent until it is dead and collected, so that pid is nobody else's.
    if command_is_gone not in readable and os.getppid() == command_pid:
        os.kill(command_pid, signal.SIGKILL)


def main() -> None:
    lifeline, command = int(sys.argv[1]), sys.argv[2:]
    pid = os.getpid()
    command_is_gone, held_by_command = os.pipe()
    if os.fork() == 0:
        os.close(held_by_command)
        watch(lifeline, command_is_gone, pid)
        os._exit(0)
    os.set_inheritable(lifeline, False)
    os.set_inheritable(held_by_command, True)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
