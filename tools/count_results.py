#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""count_results.py TESTLOG.json CASES: prints `passed failed` for one run of `meson test`.

A GoogleTest program counts with its cases (CASES/<program>.json, written by GTEST_OUTPUT), any other
test as one. A program that fails with no failed case (a crash, a leak at its end) is one failure
more. What meson or GoogleTest skipped is not counted. Failures are named on stderr.
"""
import json
import sys
from pathlib import Path


def count_cases(path):
    passed, failed = 0, []
    for suite in json.loads(path.read_text())['testsuites']:
        for case in suite['testsuite']:
            name = f"{suite['name']}.{case['name']}"
            if case.get('failures'):
                failed.append(name)
            elif case.get('status') == 'RUN' and case.get('result') == 'COMPLETED':
                passed += 1
    return passed, failed


def main():
    log, cases = Path(sys.argv[1]), Path(sys.argv[2])
    passed, failed = 0, []
    for line in log.read_text().splitlines():
        test = json.loads(line)
        if test['result'] == 'SKIP':
            continue
        good = test['result'] in ('OK', 'EXPECTEDFAIL')
        found = [cases / f'{Path(part).name}.json' for part in test['command']]
        found = [path for path in found if path.exists()]
        case_passed, case_failed = count_cases(found[0]) if found else (1 if good else 0, [])
        if not good and not case_failed:
            case_failed = [f"{test['name']} ({test['result']}, status {test.get('returncode')})"]
        passed += case_passed
        failed += case_failed
    for name in failed:
        print(f'FAILED {name}', file=sys.stderr)
    print(passed, len(failed))


if __name__ == '__main__':
    main()
