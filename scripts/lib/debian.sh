# shellcheck shell=bash
# Debian packages and sources without touching the system's package lists. Sourced, not run.
#
# Everything goes through apt with lists, cache and sources file of its own under $debian_apt (set by `debian_apt_setup DIR`).
# The mirror, the keyring and so on are the ones that this machine's own apt is configured with.

say() { printf '%s: %s\n' "${program:-$(basename "$0")}" "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}

# debian_apt_setup DIR: makes a private apt in DIR for the release's `main` component, sources included.
debian_apt_setup() {
  debian_apt=$1
  command -v apt-get >/dev/null || die "this needs Debian's apt-get; or set KUBEBUILDER_ASSETS to a folder with the binaries"
  local codename uri keyring=
  # shellcheck source=/dev/null
  codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
  [ -n "$codename" ] || die "/etc/os-release names no VERSION_CODENAME"
  mkdir -p "$debian_apt"/{lists/partial,cache/archives/partial}
  # shellcheck disable=SC2016
  uri=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
    awk -v release="$codename" '$1 == release && $2 == "main" { print $3; exit }')
  [ -n "$uri" ] || die "apt has no mirror configured for '$codename main'; see /etc/apt/sources.list.d"
  if [ -r /usr/share/keyrings/debian-archive-keyring.gpg ]; then
    keyring="[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
  fi
  {
    printf 'deb %s %s %s main\n' "$keyring" "$uri" "$codename"
    printf 'deb-src %s %s %s main\n' "$keyring" "$uri" "$codename"
  } >"$debian_apt/sources.list"
  debian_apt_get update >&2 || die "apt cannot read its package lists; is the mirror reachable?"
}

# debian_apt_get ARGUMENT…: apt-get with the private lists, quiet.
debian_apt_get() {
  DEBIAN_FRONTEND=noninteractive apt-get -qq \
    -o Dir::State::Lists="$debian_apt/lists" \
    -o Dir::Cache="$debian_apt/cache" \
    -o Dir::Etc::sourcelist="$debian_apt/sources.list" \
    -o Dir::Etc::sourceparts=/dev/null \
    -o APT::Sandbox::User=root \
    -o Acquire::Retries=3 \
    -o Acquire::Languages=none \
    -o APT::Get::List-Cleanup=false \
    "$@"
}

# debian_extract DIR PACKAGE…: unpacks packages under DIR, installs nothing, starts no service, needs no root.
debian_extract() {
  local root=$1 archive
  shift
  mkdir -p "$root" "$debian_apt/debs"
  (cd "$debian_apt/debs" && debian_apt_get download "$@" >&2) || die "cannot download from Debian: $*"
  for archive in "$debian_apt/debs"/*.deb; do
    dpkg-deb -x "$archive" "$root"
    rm -f "$archive"
  done
}

# debian_install_missing COMMAND=PACKAGE…: installs the packages whose command is not there. Needs root only then.
debian_install_missing() {
  local pair missing=()
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || die "missing: ${missing[*]}. Run as root, or install them: apt-get install ${missing[*]}"
  say "installing Debian packages: ${missing[*]}"
  debian_apt_get install --yes --no-install-recommends "${missing[@]}" >&2 || die "apt-get install ${missing[*]} failed"
}

# cache_root: the folder for things that take long to make; there even where HOME is not set.
cache_root() {
  local base=${XDG_CACHE_HOME:-}
  if [ -z "$base" ]; then
    local home=${HOME:-}
    [ -n "$home" ] || home=$(getent passwd "$(id -u)" | cut -d: -f6)
    base=${home:-/var/tmp}/.cache
  fi
  mkdir -p "$base/swarmscale" || die "cannot make $base/swarmscale; set XDG_CACHE_HOME to a folder that can be written"
  printf '%s\n' "$base/swarmscale"
}
