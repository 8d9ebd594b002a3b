#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Proves that every rule of check_tree.py can fail, and that a good tree passes all of them."""
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True
import check_tree  # noqa: E402

SPDX = '// SPDX-License-Identifier: Apache-2.0\n'
HEAD = SPDX + '// What it is for.\n// Thread: any. Owner: none. Limits: none.\n#pragma once\n'
GOOD = {
    'tools/layers.txt': '0 base :\n1 mem : base\n1 mailbox : base\n',
    'meson.build': "modules = {\n  'base': [],\n  'mem': ['base'],\n  'mailbox': ['base'],\n}\n",
    'src/base/a.h': HEAD + 'namespace tidegate::base {}  // printf("no") is only a comment\n',
    'src/mem/b.h': HEAD + '#include "base/a.h"\nnamespace tidegate::mem {}\n',
    'src/mem/b.cc': SPDX + '#include "mem/b.h"\nnamespace tidegate::mem {\n'
                    'const char* text = "abort() exit(1) // rand()"; int n = 1\'000\'000;\n'
                    'void next_time(); void f() { x.signal(1); next_time(); }\n}\n',
    'src/mem/meson.build': "sources = files('b.cc')\n",
    'tests/unit/mem/b_test.cc': SPDX + 'int main() {}\n',
    'tests/unit/mem/meson.build': "test_sources = files('b_test.cc')\n",
    'tools/go': '#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\necho go\n',
    'include/tidegate/t.h': SPDX + '#pragma once\nnamespace tidegate { int version(); }\n',
    'tests/c/package-lock.json': '{"version": "1.0"}\n',
    'README.md': '[a](src/base/a.h) [b](https://example.org)\n',
}
SLASH = '/'
# rule: [(what is wrong, path, text)]; each is one change to the good tree.
BAD = {
    'layers': [
        ('upwards', 'src/base/a.h', HEAD + '#include "mem/b.h"\nnamespace tidegate::base {}\n'),
        ('sideways', 'src/mailbox/m.h', HEAD + '#include "mem/b.h"\nnamespace tidegate::mailbox {}\n'),
        ('not from src/', 'src/mem/b.h', HEAD + '#include "b.cc"\nnamespace tidegate::mem {}\n'),
        ('unknown module', 'src/new/n.h', HEAD + 'namespace tidegate::new {}\n'),
        ('meson differs', 'meson.build', "modules = {\n  'base': [],\n}\n"),
        ('no table', 'tools/layers.txt', ''),
    ],
    'header_comment': [
        ('no pragma', 'src/base/a.h', HEAD.replace('#pragma once', '') + 'namespace tidegate::base {}\n'),
        ('no owner', 'src/base/a.h', HEAD.replace('Owner', '') + 'namespace tidegate::base {}\n'),
        ('using', 'src/base/a.h', HEAD + 'namespace tidegate::base {}\nusing namespace std;\n'),
        ('public', 'include/tidegate/t.h', SPDX),
    ],
    'spdx': [('source', 'src/mem/b.cc', 'namespace tidegate::mem {}\n'),
             ('script', 'tools/go', '#!/bin/sh\necho\n')],
    'namespaces': [('other', 'src/mem/b.cc', SPDX + 'namespace tidegate::base {}\n')],
    'file_size': [('long', 'tests/long.py', SPDX + '\n' * 900),
                  ('large', 'docs/large.bin', 'a' * (2 << 20))],
    'banned_calls': [(line, 'src/mem/b.cc', SPDX + 'namespace tidegate::mem {\n' + line + '\n}\n')
                     for line in [
                         'void f() { std::printf("a"); }', 'void f() { std::cout << 1; }',
                         'void f() { std::fprintf(stderr, "a"); }', 'void f() { exit(1); }',
                         'void f() { std::abort(); }', 'auto e = getenv("A");',
                         'void f() { signal(1, nullptr); }', 'int r = rand();',
                         'auto t = std::time(nullptr);', 'auto t = std::chrono::steady_clock::now();',
                         'std::thread t;', 'std::mutex m;', 'void f() { throw 1; }',
                         'void f() { try {} catch (...) {} }', 'void f() { usleep(1); }',
                         '#include <iostream>', '#include <liburing.h>', '#include <openssl/evp.h>',
                     ]],
    'mailbox_closures': [('closure', 'src/mailbox/m.h',
                          HEAD + 'namespace tidegate::mailbox { std::function<void()> f; }\n')],
    'sources_listed': [('source', 'src/mem/c.cc', SPDX + 'namespace tidegate::mem {}\n'),
                       ('test', 'tests/unit/mem/c_test.cc', SPDX)],
    'quiet_tests': [('sleep', 'tests/unit/mem/b_test.cc', SPDX + 'void f() { sleep_for(1); }\n')],
    'unfinished': [('note', 'src/base/a.h', HEAD + 'namespace tidegate::base {}  // TO' 'DO\n'),
                   ('words', 'README.md', 'good enough for n' 'ow\n')],
    'machine_paths': [('path', 'docs/a.md', f'see {SLASH}work{SLASH}main\n')],
    'lock_files': [('resolved', 'tests/c/package-lock.json', '{"resolved": "https://r"}\n')],
    'shell_syntax': [('syntax', 'tools/go', GOOD['tools/go'] + 'if\n')],
    'public_headers': [('alone', 'include/tidegate/t.h', SPDX + '#pragma once\nstd::string s();\n'),
                       ('private', 'include/tidegate/t.h',
                        SPDX + '#pragma once\n#include "base/a.h"\n')],
    'docs_current': [('link', 'README.md', '[a](nowhere.md)\n')],
}


def write(root, files):
    for name, text in files.items():
        path = Path(root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class Canary(unittest.TestCase):
    def test_good_tree_passes(self):
        with tempfile.TemporaryDirectory() as root:
            write(root, GOOD)
            self.assertEqual({k: v for k, v in check_tree.check(root).items() if v}, {})

    def test_every_rule_has_a_bad_example(self):
        self.assertEqual({rule.__name__ for rule in check_tree.RULES}, set(BAD))

    def test_every_rule_fails_on_its_bad_examples(self):
        for rule, examples in BAD.items():
            for what, path, text in examples:
                with self.subTest(rule=rule, what=what), tempfile.TemporaryDirectory() as root:
                    write(root, {**GOOD, path: text})
                    function = getattr(check_tree, rule)
                    self.assertTrue(list(function(check_tree.Tree(root))), f'{rule}: {what}')


if __name__ == '__main__':
    unittest.main()
