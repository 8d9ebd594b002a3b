# SPDX-License-Identifier: Apache-2.0
# Shared by the scripts of this folder (source it): packages, build folders, messages. It installs
# with apt-get, as root or through sudo, and only what tools/packages.txt lists and is missing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=${JOBS:-$(nproc)}
export PATH="$root/.cache/tools/bin:$PATH"

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else die "this needs root: run as root, or install sudo, or run by hand: $*"
  fi
}

# Rows of packages.txt that belong to the given sections and are not there: "package command".
missing_packages() {
  local section package version program wanted=" $* "
  while read -r section package version program; do
    case "$section" in ''|'#'*) continue ;; esac
    [[ "$wanted" == *" $section "* ]] || continue
    if [ -n "${program:-}" ]; then
      command -v "$program" >/dev/null && continue
    elif [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ]; then
      continue
    fi
    echo "$package"
  done < "$root/tools/packages.txt"
}

# Says so when an installed version is not one that was tested; nothing stops for it.
check_versions() {
  local section package version program have prefix good wanted=" $* "
  while read -r section package version program; do
    case "$section" in ''|'#'*) continue ;; esac
    [[ "$wanted" == *" $section "* && "$version" != - ]] || continue
    have=$(dpkg-query -W -f '${Version}' "$package" 2>/dev/null) || continue
    [ -n "$have" ] || continue
    have=${have#*:}
    good=0
    for prefix in ${version//,/ }; do
      [[ "$have" == "$prefix" || "$have" == "$prefix"[-.+~]* ]] && good=1
    done
    [ $good = 1 ] || say "note: $package is $have, tested with $version"
  done < "$root/tools/packages.txt"
}

# install_packages SECTION…: apt-get for what is missing, silent when nothing is.
install_packages() {
  local packages log
  mapfile -t packages < <(missing_packages "$@")
  if [ ${#packages[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || die "missing: ${packages[*]}; this script knows apt-get only"
    say "installing with apt-get: ${packages[*]}"
    log=$(mktemp)
    if ! as_root env DEBIAN_FRONTEND=noninteractive sh -c '
        apt-get update -q && apt-get install -q -y --no-install-recommends "$@"' sh \
        "${packages[@]}" >"$log" 2>&1 </dev/null; then
      tail -n 30 "$log" >&2
      rm -f "$log"
      die "apt-get failed, its last lines are above"
    fi
    rm -f "$log"
    hash -r
  fi
  check_versions "$@"
}

# unpack_programs [PROGRAM…]: unpacks the programs of section `unpack`, or those named, below
# .cache/tools/bin. No failure: what needs one of them says that it was skipped.
unpack_programs() {
  local asked=" $* " section package version program libraries folder="$root/.cache/tools"
  while read -r section package version program libraries; do
    [ "$section" = unpack ] || continue
    [[ $# = 0 || "$asked" == *" $program "* ]] || continue
    command -v "$program" >/dev/null && continue
    say "fetching $program out of the package $package"
    mkdir -p "$folder/bin" "$folder/$package"
    unpack_one() {
      local one found
      cd "$folder" || return
      for one in $package $libraries; do
        apt-get download -q "$one" && dpkg-deb -x "$one"_*.deb "$package" && rm -f "$one"_*.deb ||
          return
      done
      found=$(find "$package/usr/bin" "$package/usr/sbin" -name "$program" 2>/dev/null | head -n 1)
      [ -n "$found" ] || return
      printf '#!/bin/sh\nLD_LIBRARY_PATH="%s" exec "%s" "$@"\n' \
        "$(echo "$folder/$package"/usr/lib/*-linux-gnu)" "$folder/$found" > "bin/$program"
      chmod +x "bin/$program"
    }
    # The second try is for a machine whose package lists are missing or old.
    (unpack_one) >/dev/null 2>&1 </dev/null ||
      { as_root apt-get update -q && (unpack_one); } >/dev/null 2>&1 </dev/null ||
      say "could not fetch $program"
  done < "$root/tools/packages.txt"
}

# The value of -march: x86-64-v3 where this processor has it all, else the compiler's default.
cpu_option() {
  local flags flag
  flags=" $(grep -m1 '^flags' /proc/cpuinfo | cut -d: -f2) "
  for flag in avx2 bmi1 bmi2 f16c fma movbe abm; do
    [[ "$flags" == *" $flag "* ]] || { echo ''; return; }
  done
  echo x86-64-v3
}

# configure NAME: makes build/NAME ready. Reconfigures when the options differ from the last time.
configure() {
  local name=$1 folder="$root/build/$1" options compiler='' linker='' key
  options=("-Dcpu=$(cpu_option)")
  case "$name" in
    # Unit tests are run from build/asan; a release holds programs and benchmarks.
    release) options+=(-Dbuildtype=release -Db_lto=true "-Db_lto_threads=$jobs" -Dtests=false) ;;
    debug) options+=(-Dbuildtype=debug) ;;
    # Line numbers and little optimisation: half the time to compile, and the tests wait for that. The
    # three checks that are left out are half of the rest: a null pointer crashes with a report anyway,
    # and build/fuzz has them for every parser and a whole connection.
    asan) options+=(-Doptimization=1 -Ddebug=true
                    "-Dcpp_args=['-g1', '-fno-sanitize=null,alignment,object-size']"
                    -Db_sanitize=address,undefined -Dbench=false) ;;
    tsan) options+=(-Doptimization=1 -Ddebug=true -Dcpp_args=-g1
                    -Db_sanitize=thread -Dbench=false) ;;
    # Simulations of many seeds: asserts and line numbers, optimised, no sanitizers.
    sim) options+=(-Dbuildtype=debugoptimized -Dbench=false) ;;
    fuzz)
      # libstdc++ 12 calls in stable_sort what it marks as deprecated.
      options+=(-Dbuildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false
                -Dfuzz=true -Dbench=false
                "-Dcpp_args=['-fsanitize=fuzzer-no-link', '-Wno-deprecated-declarations']")
      compiler=clang++-19 linker=lld-19
      ;;
    # Fuzzers without sanitizers: asserts and the fuzzers' own checks at some times the speed.
    fuzz-bare)
      options+=(-Dbuildtype=debugoptimized -Db_lundef=false -Dfuzz=true -Dbench=false
                "-Dcpp_args=['-fsanitize=fuzzer-no-link', '-Wno-deprecated-declarations']")
      compiler=clang++-19 linker=lld-19
      ;;
    *) die "unknown build '$name'; there are release, debug, asan, tsan, sim, fuzz, fuzz-bare" ;;
  esac
  [ -n "$linker" ] || for key in mold lld; do
    if command -v $key >/dev/null; then linker=$key; break; fi
  done
  if [ -n "$compiler" ] && command -v ccache >/dev/null; then compiler="ccache $compiler"; fi
  # meson takes compiler and linker from the environment and only at the first setup.
  key="${compiler:-default} ${linker:-default} ${options[*]}"
  if [ -f "$folder/build.ninja" ] && [ "$(cat "$folder/.options" 2>/dev/null)" = "$key" ]; then
    return
  fi
  rm -rf "$folder"
  mkdir -p "$folder"
  say "configuring build/$name"
  if ! env ${compiler:+"CXX=$compiler"} ${linker:+"CXX_LD=$linker"} \
      meson setup "$folder" "$root" "${options[@]}" >"$folder/setup.log" 2>&1; then
    tail -n 25 "$folder/setup.log" >&2
    die "meson setup failed, see build/$name/setup.log"
  fi
  echo "$key" > "$folder/.options"
}

# build NAME [target…]
build() {
  local name=$1
  shift
  # Checkouts in different folders share what was compiled; only debuggers see the other's path.
  export CCACHE_NOHASHDIR=1
  configure "$name"
  say "building build/$name${*:+: $*}"
  if [ -t 1 ]; then ninja -C "$root/build/$name" -j "$jobs" "$@"
  else ninja -C "$root/build/$name" -j "$jobs" --quiet "$@"
  fi
}
