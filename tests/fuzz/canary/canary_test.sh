#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# canary_test.sh PROGRAM CORPUS: passes when the program with the planted bug was caught at it.
set -u
program=$(realpath "$1") corpus=$(realpath "$2")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
if "$program" -help=1 2>&1 | grep -q libFuzzer; then
  set -- "$program" -seed=1 -runs=1000000 -max_len=16 "$corpus"
else
  set -- "$program" "$corpus" 20000
fi
"$@" > output 2>&1
status=$?
if [ $status = 0 ]; then
  echo "the planted bug was not found:"
  cat output
  exit 1
fi
# Without address sanitizer the program traps instead.
grep -Eq 'heap-buffer-overflow|deadly signal' output || [ $status -ge 128 ] || {
  echo "it failed, but not by the planted bug (status $status):"
  cat output
  exit 1
}
