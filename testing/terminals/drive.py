#!/usr/bin/python3
"""drive.py SCENARIO: runs a program in a pseudo-terminal, types into it what a user would, and prints what is on the
screen at each step, and the exit status. Runs natively and under Remora, where the pseudo-terminal is Remora's own.

A scenario is a command and steps: a regular expression that the screen's text has to match, then keys to type. The
screen is printed once it matches and has stood still for a moment."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

from screen import COLUMNS, LINES, Screen

CONTROL_C, CONTROL_D, CONTROL_Z = '\x03', '\x04', '\x1a'
PROMPT = r'^\$ *\Z'
BASH = ['bash', '--norc', '--noprofile', '-i']


SCENARIOS = {
    'bash_job_control': (BASH, [
        (PROMPT, 'cat\r'),
        (r'\$ cat$', 'typed\r'),
        (r'typed\ntyped$', CONTROL_Z),
        (r'Stopped +cat\n' + PROMPT, 'jobs\r'),
        (r'jobs\n.*Stopped +cat\n' + PROMPT, 'fg\r'),
        (r'fg\ncat$', 'again\r'),
        (r'again\nagain$', CONTROL_C),
        (r'\^C\n' + PROMPT, 'echo status $?\r'),
        (r'status 130\n' + PROMPT, 'cat &\r'),
        (r'Stopped +cat|\[1\] PID\n' + PROMPT, '\r'),
        (r'Stopped +cat\n(?s:.*)' + PROMPT, 'fg %1\r'),  # a reader in the background is stopped
        (r'fg %1\ncat$', CONTROL_C),
        (r'\^C\n' + PROMPT, 'sleep 0 | (exit 3); echo status $?\r'),
        (r'status 3\n' + PROMPT, 'stty size; test "$(tty)" = "$(readlink /proc/self/fd/0)"; echo same $?\r'),
        (r'24 80\nsame 0\n' + PROMPT, CONTROL_D),
    ]),
    'bash_editing': (BASH, [
        (PROMPT, 'echo one two\x1bb\x1b[D\x17\x05 end\r'),  # M-b, left, ^W, ^E
        (r'two end\n' + PROMPT, '\x10'),  # ^P: the line before
        (r'end\n\$ echo .*two end$', '\x01: \r'),
        (r': echo .*\n' + PROMPT, 'ec\tfinished\r'),
        (r'finished\n' + PROMPT, '\x12two\r'),  # ^R: search back
        (r'two(?s:.*)' + PROMPT, 'read -r -s x; echo "[$x]"\r'),
        (r'echo "\[\$x\]"$', 'secret\r'),
        (r'\[secret\]\n' + PROMPT, 'exit 5\r'),
    ]),
    'bash_traps': (['bash', '-c', "trap 'echo interrupted' INT; trap 'echo quit' QUIT; "
                    'while read -r line && [ "$line" != end ]; do echo "got $line"; done; exit 4'], [
        (r'\A\n*\Z', 'first\r'),
        (r'got first$', CONTROL_C),
        (r'interrupted$', '\x1c'),
        (r'quit$', 'lost\x15second\r'),
        (r'got second$', 'end\r'),
    ]),
    'less': (['less', 'numbers'], [
        (r'number 23\nnumbers', ' '),
        (r'number 46\n', 'G'),
        (r'number 300\n(?s:.*)END', '?number 10[0]\r'),
        (r'\A\n*number 100$', 'k'),
        (r'\A\n*number 99$', 'q'),
    ]),
    'vim': (['vim', '-Nu', 'NONE', '-i', 'NONE', '-n', '-c', 'set ruler report=0', 'text'], [
        (r'0,0-1', 'ihello world\rsecond line\x1b'),
        (r'2,11', 'yyp'),
        (r'3,1 ', ':%s/second/other/\r'),
        (r'2 substitutions', 'ggdd'),
        (r'1,1 ', 'u'),
        (r'hello world(?s:.*)1,1 ', ':wq\r'),
    ]),
    'python_interactive': (['python3', '-q', '-S', '-E'], [
        (r'>>> *\Z', 'import os, sys\r'),
        (r'sys\n>>> *\Z', '[os.isatty(fd) for fd in range(3)], os.get_terminal_size()[:]\r'),
        (r'\(\[True, True, True\].*\n>>> *\Z', 'for i in range(3):\r'),
        (r'\.\.\. *\Z', '  print(i)\r'),
        (r'print\(i\)\n\.\.\. *\Z', '\r'),
        (r'2\n>>> *\Z', 'import time; time.sleep(1000)\r'),
        (r'1000\)$', CONTROL_C),
        (r'KeyboardInterrupt\n>>> *\Z', CONTROL_D),
    ]),
    'python_spawn': (['python3', '-S', '-E', '-c', 'import pty; print(pty.spawn(["sh", "-c", "tty >/dev/null && '
                      'read x && echo got $x; exit 3"]))'], [
        (r'\A\n*\Z', 'line\r'),
        (r'768\n*\Z', None),
    ]),
    'script': (['sh', '-c', 'script -q -e -c "bash --norc --noprofile -i" t; status=$?; sed -e 1d -e "/^Script done/d" t '
                '>typescript; rm t; exit $status'], [  # without its dates
        (PROMPT, 'echo recorded $((6*7)); stty size\r'),
        (r'recorded 42\n24 80\n' + PROMPT, 'sleep 1000\r'),
        (r'sleep 1000$', CONTROL_C),
        (r'\^C\n' + PROMPT, 'exit 6\r'),
    ]),
    'tmux': (['tmux', '-L', 'driven', '-f', '/dev/null', 'new', 'bash --norc --noprofile', ';', 'set', '-g', 'status',
              'off', ';', 'set', '-g', 'default-command', 'bash --norc --noprofile'], [
        (PROMPT, 'echo left\r'),
        (r'^left\n' + PROMPT, '\x02%'),  # two panes side by side
        (r'^\$ echo left +\S\$$', 'echo right $((6*7))\r'),
        (r'^left +\Sright 42$', '\x02o'),
        (r'right 42', 'echo both\r'),
        (r'^both +\S', 'exit\r'),
        (r'^\$ echo right \$\(\(6\*7\)\)$', 'exit\r'),
    ]),
}

def run(name):
    command, steps = SCENARIOS[name]
    sys.stdout.reconfigure(errors='replace')
    os.environ.update(TERM='vt100', PS1='$ ', LC_ALL='C.UTF-8', HOME=os.getcwd(), TMUX_TMPDIR=os.getcwd(),
                      LINES=str(LINES), COLUMNS=str(COLUMNS), HISTFILE='/dev/null', INPUTRC='/dev/null', SHELL='/bin/sh')
    for variable in ('TMUX', 'LESS', 'VIMINIT'):
        os.environ.pop(variable, None)
    if name == 'less':
        with open('numbers', 'w') as file:
            file.writelines('number %d\n' % i for i in range(1, 301))
    pid, master = pty.fork()
    if pid == 0:
        for _ in range(10000):  # until the window has its size
            if os.get_terminal_size(0)[0] != 0:
                break
            time.sleep(0.001)
        os.execvp(command[0], command)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack('HHHH', LINES, COLUMNS, 0, 0))
    screen = Screen()
    ended = False

    def pump(seconds):
        """False: nothing came."""
        nonlocal ended
        if ended or not select.select([master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(master, 65536)
        except OSError:
            data = b''
        ended = not data
        screen.feed(data)
        return bool(data)

    def text():
        """What stands on the screen, without what differs from run to run."""
        shown = re.sub(r'(\[\d\]) +\d+\b', r'\1 PID', screen.text().rstrip('\n'))
        return re.sub(r'\d+ seconds? ago', lambda found: 'just now'.ljust(len(found[0])), shown)

    for number, (expected, keys) in enumerate(steps):
        missed = False
        while not missed and not re.search(expected, text(), re.MULTILINE):
            missed = not pump(60)
        while pump(0.3):
            pass
        print('=== %d' % number)
        print(text() + '\n[cursor %d,%d]' % (screen.line + 1, screen.column + 1))
        if missed:
            print('step %d: the screen does not show %r' % (number, expected))
            os.kill(pid, signal.SIGKILL)
            break
        if keys is not None:
            os.write(master, keys.encode())
    while pump(60):
        pass
    if not ended:
        print('it does not end')
        os.kill(pid, signal.SIGKILL)
    print('=== end')
    print(text())
    print('status', os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if len(sys.argv) == 1:
    print('\n'.join(SCENARIOS))
else:
    run(sys.argv[1])
