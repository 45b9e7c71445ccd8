# For the `run` of an example, from its folder.

root=$(cd ../.. && pwd)
program=${PROGRAM:-$root/target/release/repl}
port=${BROKER_PORT:-7375}

need_program() {
  [ -x "$program" ] || (cd "$root" && cargo build --release --locked)
}

need_client() {
  [ -e "$root/clients/ts/dist/index.js" ] || (cd "$root/clients/ts" && npm ci --silent && npm run --silent build)
}

# Where the three nodes of `repl dev` are.
brokers() {
  echo "http://127.0.0.1:$port,http://127.0.0.1:$((port + 10)),http://127.0.0.1:$((port + 20))"
}
