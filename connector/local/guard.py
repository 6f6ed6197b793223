"""Run a command that ends when the process that asked for it ends, however that ends.

Run as a script, by path and without the package: ``guard.py LIFELINE COMMAND…``.
LIFELINE is the reading end of a pipe whose other end only the owner holds, so
it reads end-of-file when the owner is gone: by return, signal or ``kill -9``.

The process becomes the command (same pid, same exit status). Before, it leaves
behind a small watcher, which kills the command at that end-of-file. The
watcher ends with the command: it reads a second pipe that the command holds.
Linux's PR_SET_PDEATHSIG is not used: it fires when the *thread* that started
the command ends.
"""

import os
import select
import signal
import sys


def main() -> None:
    lifeline, command = int(sys.argv[1]), sys.argv[2:]
    pid = os.getpid()
    command_is_gone, held_by_command = os.pipe()
    if os.fork() == 0:
        os.close(held_by_command)
        for standard in (0, 1, 2):
            os.close(standard)
        readable, _, _ = select.select([lifeline, command_is_gone], [], [])
        # While the command lives, or is dead and not yet collected, it is our parent: its pid is not reused.
        if command_is_gone not in readable and os.getppid() == pid:
            os.kill(pid, signal.SIGKILL)
        os._exit(0)
    os.set_inheritable(lifeline, False)
    os.set_inheritable(held_by_command, True)
    os.execv(command[0], command)


main()
