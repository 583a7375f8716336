#!/usr/bin/env bash
# Licences and sources of all dependencies: by cargo-deny where it is installed (deny.toml), else by
# a plain look at what cargo itself knows.
set -euo pipefail
. ci/env.sh
if command -v cargo-deny >/dev/null; then
    cargo deny check licenses bans sources --hide-inclusion-graph
    echo "check: cargo-deny agrees"
    exit 0
fi

allowed=$(awk '/^allow = \[/ { on = 1; next } /^\]/ { on = 0 } on { gsub(/[", ]/, ""); print }' deny.toml)
metadata=$(cargo metadata --format-version 1 --locked)
expressions=$(grep -o '"license":\("[^"]*"\|null\)' <<<"$metadata" | sed 's/^"license"://; s/"//g' | sort | uniq -c)
[ "$(wc -l <<<"$expressions")" -gt 1 ] || { echo "cargo named no licences"; exit 1; }

# Fine if each of the parts joined by AND offers an allowed licence. That is stricter than the
# grammar where the two operators are nested, never laxer.
acceptable() {
    local part
    while read -r part; do
        sed 's/[()]//g; s, *OR *\|/,\n,g' <<<"$part" | grep -qxFf <(echo "$allowed") || return 1
    done < <(sed 's/ AND /\n/g' <<<"$1")
}

bad=0
while read -r count expression; do
    acceptable "$expression" || { echo "not allowed by deny.toml: $expression ($count crates)"; bad=1; }
done <<<"$expressions"
if grep -n 'source = "git' Cargo.lock; then echo "dependencies come from the registry only"; bad=1; fi
echo "check: $(wc -l <<<"$expressions") licence expressions (cargo-deny is not installed: bans unchecked)"
exit $bad
