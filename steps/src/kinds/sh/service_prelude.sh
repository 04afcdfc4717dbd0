# What the three managers share: the durable record that a service is held down until it is started again.
hold() {
    mkdir -p "$(dirname "$held")" && printf '%s\n' "$1" "by=$REQUORUM_ATTEMPT" >"$held.tmp" && sync "$held.tmp" &&
        mv "$held.tmp" "$held" && sync "$(dirname "$held")" ||
        fail "it cannot be recorded that the service is held down" "$held" "see the output of this attempt" "look for a full or read-only disk"
}
release() { rm -f "$held" && sync "$(dirname "$held")" 2>/dev/null || :; }
held_word() { if exists "$held"; then echo yes; else echo no; fi; }
held_field() { sed -n "s/^$1=//p" "$held" 2>/dev/null; }
