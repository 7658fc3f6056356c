#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The demo: real data that Debian packages ship, loaded end to end. Usage: run.sh BIN_FOLDER
# Writes only below ./demo, which it empties first.
set -euo pipefail
bin=$(cd "$1" && pwd)
here=$(pwd)
work="$here/demo"
rm -rf "$work"
mkdir -p "$work/data" "$work/inbox"
cd "$work"

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() {
    printf '  $ %s\n' "$*"
    "$@"
}
query() {
    printf '  $ sqlite3 air.db "%s"\n' "$1"
    sqlite3 -header -column air.db "$1" | sed 's/^/    /'
}

step '1. The input: the IEEE registry of hardware addresses (Debian package ieee-data), 4 files of one schema'
cp /usr/share/ieee-data/oui.csv data/
gzip -c /usr/share/ieee-data/mam.csv >data/mam.csv.gz
gzip -c /usr/share/ieee-data/oui36.csv >data/oui36.csv.gz
zstd -q -c /usr/share/ieee-data/iab.csv >data/iab.csv.zst
ls -l data | sed 's/^/    /'

step '2. One command: several leaf processes, one SQLite table, exactly once'
show "$bin/penstock" load 'data/*' --into sqlite:air.db --table vendors --name vendors

step '3. The same command again: nothing is loaded twice, because the ledger stands in the destination'
show "$bin/penstock" load 'data/*' --into sqlite:air.db --table vendors --name vendors

step '4. A pipeline from a file: UnicodeData.txt, semicolons and no header, with named columns'
cp /usr/share/unicode/UnicodeData.txt data-unicode.txt
cat >unicode.yaml <<'YAML'
name: unicode
source: {url: data-unicode.txt}
format: {type: csv, header: false, delimiter: ";", quote: ""}
columns:
  - {name: code, from: c1, type: text}
  - {name: name, from: c2, type: text}
  - {name: category, from: c3, type: text}
  - {name: source_line, value: $line, type: bigint}
destination: {url: sqlite:air.db, table: unicode}
YAML
show "$bin/penstock" run unicode.yaml

step '5. A cluster on this machine: a coordinator and two agents, four leaf processes, killed while it loads'
exec_dir=$(mktemp -d)
pids=()
cleanup() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$exec_dir"
}
trap cleanup EXIT
start_agent() {
    "$bin/penstock-agent" --coordinator "ipc://$exec_dir/rpc" --leaves 2 --name "$1" --state "$work/state-$1" \
        --log-level warn 2>>"$work/$1.log" &
    pids+=($!)
    last=$!
}
"$bin/penstock-coordinator" --http "unix:$exec_dir/http" --rpc "ipc://$exec_dir/rpc" --state "$work/state-coordinator" \
    --lease 2s --heartbeat 400ms --self-stop 1s --leaf-silence 1s --log-level warn 2>>"$work/coordinator.log" &
pids+=($!)
for _ in $(seq 100); do [ -S "$exec_dir/http" ] && break; sleep 0.05; done
start_agent host-a
victim=$last
start_agent host-b
# Sixteen copies of the registry under other names: enough work to be interrupted.
for i in $(seq -w 16); do cp /usr/share/ieee-data/oui.csv "inbox/copy-$i.csv"; done
cat >inbox.yaml <<YAML
name: inbox
source: {url: $work/inbox/*.csv}
format: {type: csv}
columns:
  - {name: assignment, from: Assignment, type: text}
  - {name: organization, from: "Organization Name", type: text}
  - {name: object, value: \$object, type: text}
destination: {url: sqlite:$work/air.db, table: inbox}
limits: {batch_bytes: 256KiB}
YAML
export PENSTOCK_API="unix:$exec_dir/http"
show "$bin/penstock" apply -f inbox.yaml
show "$bin/penstock" start inbox
sleep 0.3
printf '  $ kill -9 %s   # host-a, with its two leaf processes\n' "$victim"
kill -9 "$victim"
wait "$victim" 2>/dev/null || true
show "$bin/penstock" watch inbox
show "$bin/penstock" get agents

step '6. What is in the destination'
query 'SELECT count(*) AS vendors, count(DISTINCT Assignment) AS assignments FROM vendors'
query "SELECT category, count(*) AS characters FROM unicode GROUP BY category ORDER BY 2 DESC LIMIT 3"
query 'SELECT count(*) AS rows, count(DISTINCT object) AS files, count(*) % 16 AS remainder FROM inbox'
query "SELECT f.pipeline_name, count(*) AS batches, sum(inserted) AS rows FROM _penstock_ledger l JOIN _penstock_fence f USING (pipeline_uuid) WHERE l.state = 'L' GROUP BY 1"

expected=$(python3 - <<'PY' 2>/dev/null || true
import csv
print(16 * (sum(1 for _ in csv.reader(open('/usr/share/ieee-data/oui.csv', encoding='utf-8', newline=''))) - 1))
PY
)
got=$(sqlite3 air.db 'SELECT count(*) FROM inbox')
if [ -n "$expected" ] && [ "$expected" != "$got" ]; then
    echo "inbox has $got rows, expected $expected" >&2
    exit 1
fi

step 'Done. Where to look:'
cat <<TXT
  $work/air.db          the destination, with _penstock_ledger and the tables' _rejects
  README.md             what to do next;  docs/ARCHITECTURE.md  how it works
  $bin/penstock help    all commands
TXT
