# For the `run` of a suite, from its folder. `set_up <its name>` makes sure of Node.js, packages, a browser and a broker.
# Without Node.js it ends the suite; without the rest it sets NO_BROWSER to why, or says what went wrong.
# `set_up_broker` makes sure of the broker alone.

NODE_MIN=20
export CHROMIUM=${CHROMIUM:-/usr/bin/chromium}

# Installs a package of Debian, as root.
install() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return
  echo "installing $1"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$1"
} >&2

# Installs the packages that the lock file of a folder names, unless just these are there.
packages() (
  cd "$1"
  cmp -s package-lock.json node_modules/.installed-from && return
  npm ci --silent && cp package-lock.json node_modules/.installed-from
)

# Prints why there is no browser to test with, or nothing.
missing() {
  [ -x "$CHROMIUM" ] || install chromium || true
  [ -x "$CHROMIUM" ] || echo "there is no $CHROMIUM; install Chromium, or set CHROMIUM to its path"
  packages . >&2 || echo "npm ci failed"
}

set_up() {
  if ! command -v node >/dev/null || [ "$(node -p 'parseInt(process.versions.node)')" -lt "$NODE_MIN" ]; then
    echo "$1: SKIPPED: they need Node.js $NODE_MIN or newer"
    exit
  fi
  NO_BROWSER=$(missing)
  if [ -n "$NO_BROWSER" ]; then
    echo "$1: SKIPPING the tests with a browser: $NO_BROWSER"
    export NO_BROWSER
  fi
  set_up_broker
}

set_up_broker() {
  [ -z "${PROGRAM:-}" ] || return 0
  (cd ../.. && cargo build --locked --quiet)
  export PROGRAM=${CARGO_TARGET_DIR:-$(cd ../.. && pwd)/target}/debug/repl
}
