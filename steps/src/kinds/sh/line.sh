# Sets `KEY=value` in a shell-style file. $1: the path, $2: where the original is kept, $3: RUN-STEP, $4: the key, $5: the line.
path=$1 aside=$2 tag=$3
[ ! -L "$path" ] || path=$(readlink -f "$path")
temp=$(dirname "$path")/.${path##*/}.requorum-$tag.tmp
[ -f "$path" ] || refuse "there is no file at $path" "a file of KEY=value lines" "$(kind_of "$path")" "write it first (file.write)"

# Every line that sets the key gets the new value, since readers differ on whether the first or the last one counts.
# awk ends the last line whether or not the file did.
rm -f "$temp"
key=$4 line=$5 awk '
    {
        rest = $0
        sub(/^[ \t]*(export[ \t]+)?/, "", rest)
        if (index(rest, ENVIRON["key"] "=") == 1) {
            print substr($0, 1, length($0) - length(rest)) ENVIRON["line"]
            found = 1
        } else print
    }
    END { if (!found) print ENVIRON["line"] }' "$path" >"$temp" || written=no
if [ "${written-}" != no ] && cmp -s "$temp" "$path"; then
    rm -f "$temp"
    say changed false
    say aside ''
    exit 0
fi
if exists "$aside" && [ "$(identity "$aside")" != "$(identity "$path")" ]; then
    rm -f "$temp"
    refuse "the name for the original is taken" "$aside does not exist" "$(ls -ld "$aside")" "a name is never reused: look whose it is"
fi
[ "${written-}" != no ] && chown "$(stat -c %u:%g "$path")" "$temp" && chmod "$(stat -c %a "$path")" "$temp" && sync "$temp" &&
    { exists "$aside" || ln "$path" "$aside"; } || {
    rm -f "$temp"
    fail "$path cannot be written" "" "see the output of this attempt" "look for a full disk and for the rights on $(dirname "$path")"
}
chcon --reference="$path" "$temp" 2>/dev/null || :
mv -f "$temp" "$path" && sync "$(dirname "$path")" "$(dirname "$aside")" || fail "$path cannot be put in place" "" "see the output of this attempt"
say changed true
say aside "$aside"
