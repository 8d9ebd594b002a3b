#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the source tree to the house rules: layers, headers, sizes, banned calls, docs.

check_tree.py [ROOT] [--list] prints `file:line: [rule] message` for every breach and one line
`N passed, N failed` that counts rules. Each rule is one function below; check_tree_test.py proves
on a small bad tree that every one of them can fail. Python 3 standard library only.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LINES_MAX = 800
LINES_EXCEPTIONS = {}  # path: reason
BYTES_MAX = 1 << 20
CODE = ('.h', '.cc', '.c', '.mjs', '.js', '.ts', '.py', '.sh', '.proto')
SCRIPT_LINE = re.compile(r'^#!.*\b(bash|sh|python3|node)\b')
SKIP = {'.git', 'build', 'node_modules', '.cache', '__pycache__'}

# Library manners: what no file under src/ may call, and the modules that may.
BANNED = [
    (r'std::(cout|cerr|clog)\b', 'prints', ()),
    (r'(?<![\w.>])(std::)?(printf|puts|putchar|vprintf|perror)\s*\(', 'prints', ()),
    (r'(?<![\w.>])(std::)?(fprintf|fputs|vfprintf|fwrite)\s*\(\s*(stdout|stderr)', 'prints',
     ('base/assert.cc',)),
    (r'(?<![\w.>])(std::)?(exit|_exit|quick_exit|_Exit)\s*\(', 'ends the process', ()),
    (r'(?<![\w.>])(std::)?(abort|terminate)\s*\(', 'ends the process', ('base/',)),
    (r'\b(secure_)?getenv\s*\(|\bsetenv\s*\(|\benviron\b', 'reads the environment', ()),
    (r'(?<![\w.>])(std::)?(signal|sigaction|raise)\s*\(', 'handles signals', ()),
    (r'(?<![\w.>])(std::)?(rand|srand|random)\s*\(|std::random_device', 'unseeded randomness', ()),
    (r'(?<![\w.>])(std::)?time\s*\(\s*(nullptr|NULL|0|&\w+)\s*\)|\bgettimeofday\s*\(',
     'reads a clock', ()),
    (r'std::chrono::(system|steady|high_resolution)_clock|\bclock_gettime\s*\(', 'reads a clock',
     ('io/', 'control/', 'server/', 'store/', 'sdk/tcp_transport.cc')),
    (r'std::(jthread|thread|async)\b|\bpthread_create\s*\(', 'starts a thread',
     ('server/', 'control/', 'store/', 'bus/nats_', 'sdk/network_thread')),
    (r'std::(recursive_|shared_|timed_)?mutex\b|std::(lock_guard|unique_lock|scoped_lock)\b|'
     r'std::condition_variable', 'takes a lock',
     ('server/', 'control/', 'store/', 'embed/', 'bus/nats_', 'sdk/network_thread')),
    (r'\b(sleep|usleep|nanosleep)\s*\(|\bsleep_for\b|\bsleep_until\b', 'sleeps', ('control/',)),
    (r'\bthrow\b', 'throws', ()),
    (r'\bcatch\s*\(', 'catches: exceptions end where a library throws them', ('control/', 'embed/')),
]
BANNED_INCLUDES = [
    (r'<(iostream|regex|format)>', 'heavy header', ()),
    (r'<liburing', 'the ring belongs to io', ('io/',)),
    (r'<openssl/', 'OpenSSL belongs to crypto and tls', ('crypto/', 'tls/')),
    (r'<zlib', 'zlib belongs to protocol and codec', ('protocol/', 'codec/')),
    (r'<(httplib\.h|toml\+\+|spdlog/|CLI/)', 'for control and programs only', ('control/',)),
]
IN_TESTS = re.compile(r'\bsleep_for\b|\bsleep_until\b|\b(usleep|nanosleep)\s*\(|'
                      r'std::chrono::(system|steady|high_resolution)_clock|\bclock_gettime\s*\(')
UNFINISHED = re.compile(r'\b(TO' r'DO|FIX' r'ME|XX' r'X|HA' r'CK)\b')
UNFINISHED_TEXT = re.compile(r'\b(for n' r'ow\b|not imple' r'mented|unimple' r'mented|place' r'holder)',
                             re.I)
MACHINE = re.compile(r'(?<![\w.])/(wo' r'rk|fa' r'rm|ro' r'ot|ho' r'me)/\w|/tmp/(bash_' r'jobs|b-\w)')


class Tree:
    """The files of a tree, read once."""

    def __init__(self, root):
        self.root = Path(root).resolve()
        self.paths = sorted(self._list())
        self._text = {}

    def _list(self):
        if (self.root / '.git').exists() and shutil.which('git'):
            out = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard', '-z'],
                                 cwd=self.root, capture_output=True, check=False)
            if out.returncode == 0:
                names = out.stdout.decode().split('\0')
                return {n for n in names if n and (self.root / n).is_file()}
        found = set()
        for folder, folders, names in os.walk(self.root):
            folders[:] = [f for f in folders if f not in SKIP]
            found |= {os.path.relpath(os.path.join(folder, n), self.root) for n in names}
        return found

    def text(self, path):
        if path not in self._text:
            data = (self.root / path).read_bytes() if (self.root / path).is_file() else b''
            self._text[path] = '' if b'\0' in data[:4096] else data.decode(errors='replace')
        return self._text[path]

    def lines(self, path):
        return self.text(path).split('\n')

    def under(self, *folders, ends=('',)):
        return [p for p in self.paths
                if p.startswith(tuple(f + '/' for f in folders)) and p.endswith(tuple(ends))]


def bare(text):
    """C++ without comments and with the contents of literals blanked; line breaks stay."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|R"([^(\s]*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|'
                         r"(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'", re.S)

    def blank(match):
        kept = '""' if match.group(0)[0] in '"R' else ' '
        return kept + '\n' * match.group(0).count('\n')
    return pattern.sub(blank, text)


def read_layers(tree):
    layers = {}
    for line in tree.lines('tools/layers.txt'):
        match = re.match(r'^\d+\s+(\w+)\s*:\s*(.*)$', line)
        if match:
            layers[match.group(1)] = match.group(2).split()
    return layers


def module_of(path):
    return path.split('/')[1]


# ---- rules: each yields (path, line number, message) -------------------------------------------

def layers(tree):
    """Includes obey tools/layers.txt; so does meson.build."""
    table = read_layers(tree)
    if not table:
        yield 'tools/layers.txt', 1, 'no module table'
        return
    for path in tree.under('src', ends=('.h', '.cc')):
        module = module_of(path)
        if module not in table:
            yield path, 1, f'module {module} is not in tools/layers.txt'
            continue
        for number, line in enumerate(tree.lines(path), 1):
            match = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
            if not match:
                continue
            target = match.group(1)
            first = target.split('/')[0]
            if '..' in target or '/' not in target:
                # A bare name is a generated header or a file beside this one; say the module.
                if (tree.root / Path(path).parent / target).exists():
                    yield path, number, f'include "{module}/{target}", relative to src/'
            elif first in table and first != module and first not in table[module]:
                yield path, number, f'{module} may not include {first}'
    build = re.search(r'^modules = \{(.*?)^\}', tree.text('meson.build'), re.S | re.M)
    if build:
        listed = {name: re.findall(r"'(\w+)'", uses) for name, uses in
                  re.findall(r"'(\w+)':\s*\[(.*?)\]", build.group(1), re.S)}
        for name in sorted(set(listed) | set(table)):
            if listed.get(name) != table.get(name):
                yield 'meson.build', 1, f'module {name} differs from tools/layers.txt'


def header_comment(tree):
    """A header opens with its purpose, Thread:, Owner:, Limits: and has #pragma once."""
    for path in tree.under('src', ends=('.h',)):
        head, _, rest = tree.text(path).partition('#pragma once')
        if not rest:
            yield path, 1, 'no #pragma once'
            continue
        for word in ('Thread:', 'Owner:', 'Limits:'):
            if word not in head:
                yield path, 1, f'head comment does not say {word}'
        if len(re.findall(r'^//', head, re.M)) < 3:
            yield path, 1, 'head comment does not say what the file is for'
        for number, line in enumerate(bare(tree.text(path)).split('\n'), 1):
            if re.match(r'\s*using namespace\b', line):
                yield path, number, 'using namespace in a header'
    for path in tree.under('include', ends=('.h',)):
        if '#pragma once' not in tree.text(path):
            yield path, 1, 'no #pragma once'


def spdx(tree):
    """Every source file names its licence in its first three lines."""
    for path in tree.paths:
        if path.split('/')[0] not in ('src', 'include', 'tools', 'tests', 'bench', 'proto',
                                      'examples'):
            continue
        lines = tree.lines(path)
        if not path.endswith(CODE) and not SCRIPT_LINE.match(lines[0]):
            continue
        if not any('SPDX-License-Identifier: Apache-2.0' in line for line in lines[:3]):
            yield path, 1, 'no SPDX line'


def namespaces(tree):
    """A file of src/<module> declares in namespace tidegate::<module>."""
    for path in tree.under('src', ends=('.h', '.cc')):
        if not re.search(rf'namespace tidegate::{module_of(path)}\b', tree.text(path)):
            yield path, 1, f'no namespace tidegate::{module_of(path)}'


def file_size(tree):
    """No source over 800 lines, no file over 1 MiB."""
    for path in tree.paths:
        if (tree.root / path).stat().st_size > BYTES_MAX:
            yield path, 1, 'larger than 1 MiB'
        if path.endswith(CODE) and path not in LINES_EXCEPTIONS:
            count = tree.text(path).count('\n')
            if count > LINES_MAX:
                yield path, count, f'{count} lines, {LINES_MAX} allowed'


def banned_calls(tree):
    """Library manners under src/: no printing, exit, signal, environment, clock, lock, thread."""
    for path in tree.under('src', ends=('.h', '.cc')):
        inner = path[len('src/'):]
        for number, line in enumerate(bare(tree.text(path)).split('\n'), 1):
            table = BANNED_INCLUDES if re.match(r'\s*#\s*include', line) else BANNED
            for pattern, why, allowed in table:
                if not inner.startswith(allowed or ('-',)) and re.search(pattern, line):
                    yield path, number, f'{why}: {line.strip()}'


def mailbox_closures(tree):
    """No closure crosses a mailbox."""
    for path in tree.under('src/mailbox', ends=('.h', '.cc')):
        for number, line in enumerate(bare(tree.text(path)).split('\n'), 1):
            if re.search(r'std::(function|shared_ptr|any)\b', line):
                yield path, number, line.strip()


def sources_listed(tree):
    """Every source of a module stands in its meson.build."""
    for path in tree.under('src', ends=('.cc',)):
        build = f'src/{module_of(path)}/meson.build'
        name = path.split('/', 2)[2]
        if f"'{name}'" not in tree.text(build):
            yield path, 1, f'not in {build}'
    for path in tree.under('tests/unit', ends=('_test.cc',)):
        build = str(Path(path).parent / 'meson.build')
        if f"'{Path(path).name}'" not in tree.text(build):
            yield path, 1, f'not in {build}'


def quiet_tests(tree):
    """No sleeps and no wall clock in unit tests and the simulation."""
    for path in tree.under('tests/unit', 'tests/sim', 'tests/fuzz', ends=('.h', '.cc')):
        for number, line in enumerate(bare(tree.text(path)).split('\n'), 1):
            if IN_TESTS.search(line):
                yield path, number, line.strip()


def unfinished(tree):
    """No notes of work left to do."""
    for path in tree.paths:
        if path.endswith('package-lock.json') or path.startswith('tests/fuzz/corpus/'):
            continue
        shipped = path.startswith(('src/', 'include/', 'tools/', 'proto/', 'docs/', 'README'))
        for number, line in enumerate(tree.lines(path), 1):
            if UNFINISHED.search(line) or (shipped and UNFINISHED_TEXT.search(line)):
                yield path, number, line.strip()[:120]


def machine_paths(tree):
    """No path of one machine."""
    for path in tree.paths:
        for number, line in enumerate(tree.lines(path), 1):
            if MACHINE.search(line):
                yield path, number, line.strip()[:120]


def lock_files(tree):
    """Lock files name no registry."""
    for path in tree.paths:
        if path.endswith('package-lock.json'):
            for number, line in enumerate(tree.lines(path), 1):
                if '"resolved":' in line:
                    yield path, number, 'set omit-lockfile-registry-resolved=true and regenerate'
                    break


def shell_syntax(tree):
    """Scripts parse."""
    for path in tree.paths:
        match = re.match(r'^#!.*\b(bash|sh)\b', tree.lines(path)[0])
        if match and shutil.which(match.group(1)):
            run = subprocess.run([match.group(1), '-n', str(tree.root / path)],
                                 capture_output=True, check=False)
            if run.returncode != 0:
                yield path, 1, run.stderr.decode(errors='replace').strip()[:200]


def public_headers(tree):
    """Each public header compiles alone."""
    compiler = shutil.which('g++') or shutil.which('c++')
    headers = tree.under('include', ends=('.h',))
    if not compiler or not headers:
        return
    with tempfile.TemporaryDirectory() as folder:
        for path in headers:
            unit = Path(folder) / 'alone.cc'
            unit.write_text(f'#include "{path[len("include/"):]}"\n')
            run = subprocess.run([compiler, '-std=c++20', '-fsyntax-only', '-Wall', '-Wextra',
                                  '-Werror', f'-I{tree.root}/include', str(unit)],
                                 capture_output=True, check=False)
            if run.returncode != 0:
                yield path, 1, run.stderr.decode(errors='replace').strip()[:400]
        for path in headers:
            for number, line in enumerate(tree.lines(path), 1):
                match = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
                if match and not match.group(1).startswith('tidegate/'):
                    yield path, number, 'a public header includes only public headers'


def docs_current(tree):
    """Generated tables in docs/ are as tools/docs would write them; links lead somewhere."""
    program = tree.root / 'tools/docs'
    if program.exists():
        run = subprocess.run([sys.executable, str(program), '--check', '--root', str(tree.root)],
                             capture_output=True, check=False)
        for line in run.stdout.decode(errors='replace').splitlines():
            yield line.split(':')[0], 1, line
        if run.returncode != 0 and not run.stdout:
            yield 'tools/docs', 1, run.stderr.decode(errors='replace').strip()[:200]
    for path in tree.paths:
        if not path.endswith('.md'):
            continue
        code = False
        for number, line in enumerate(tree.lines(path), 1):
            if line.startswith('```'):
                code = not code
            for target in [] if code else re.findall(r'\]\(([^)#\s]+)[^)]*\)', line):
                if '://' in target or target.startswith('mailto:'):
                    continue
                if not (tree.root / Path(path).parent / target).exists():
                    yield path, number, f'link to {target}, which is not there'


RULES = [layers, header_comment, spdx, namespaces, file_size, banned_calls, mailbox_closures,
         sources_listed, quiet_tests, unfinished, machine_paths, lock_files, shell_syntax,
         public_headers, docs_current]


def check(root):
    """{rule name: breaches} of the tree at `root`."""
    tree = Tree(root)
    return {rule.__name__: list(rule(tree)) for rule in RULES}


def main():
    arguments = [a for a in sys.argv[1:] if not a.startswith('-')]
    if '--list' in sys.argv:
        for rule in RULES:
            print(f'{rule.__name__:18} {rule.__doc__}')
        return 0
    root = arguments[0] if arguments else Path(__file__).resolve().parents[2]
    result = check(root)
    for name, breaches in result.items():
        for path, number, message in breaches:
            print(f'{path}:{number}: [{name}] {message}')
    failed = sum(1 for breaches in result.values() if breaches)
    print(f'{len(result) - failed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
