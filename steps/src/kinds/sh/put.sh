# Puts the content of standard input at a path. $1: the path, $2: where a different file there is set aside, $3: RUN-STEP,
# $4: SHA-256 of the content, $5: mode and $6: owner, empty to keep those of the file that is replaced,
# $7: `aside` to replace a different file, `refuse` to leave it.
path=$1 aside=$2 tag=$3 sha=$4 mode=$5 owner=$6 existing=$7
[ ! -L "$path" ] || path=$(readlink -f "$path")
beside=$(dirname "$path")
# Hidden: the kubelet does not read hidden files, so a manifest appears all at once.
temp=$beside/.${path##*/}.requorum-$tag.tmp

[ -d "$beside" ] || refuse "the directory of $path is missing" "$beside" "absent" "make it first"
[ ! -d "$path" ] || refuse "$path is a directory" "a file or nothing"
got=$(digest "$REQUORUM_STDIN")
[ "$got" = "$sha" ] || refuse "what arrived on the host differs from what was sent" "SHA-256 $sha" "SHA-256 $got" "retry; if it happens again, look at the disk of the capsule root"

# Sets what was asked for, or else what the file that is replaced has.
own() {
    [ -z "$owner" ] || chown "$owner" "$1" || return 1
    [ -z "$mode" ] || chmod "$mode" "$1"
}
answer() {
    say path "$path"
    say sha256 "$sha"
    say size "$(size_of "$path")"
    say changed "$1"
    say aside "$2"
    exit 0
}

if exists "$path"; then
    if [ "$(digest "$path")" = "$sha" ]; then
        own "$path" || fail "owner or mode of $path cannot be set" "${owner:-as it is} ${mode:-as it is}" "$(stat -c '%U:%G %a' "$path")"
        sync "$path"
        answer false ''
    fi
    [ "$existing" = aside ] || refuse "a different file is at $path" "SHA-256 $sha, or nothing" "SHA-256 $(digest "$path"), $(size_of "$path") bytes" "give \`replace: true\` to have it set aside, or another path"
    # An attempt that was cut off may have given the old file its second name already.
    ! exists "$aside" || [ "$(identity "$aside")" = "$(identity "$path")" ] || refuse "the name for the file that is replaced is taken" "$aside does not exist" "$(ls -ld "$aside")" "a name is never reused: look whose it is"
    [ -n "$mode" ] || mode=$(stat -c %a "$path")
    [ -n "$owner" ] || owner=$(stat -c %u:%g "$path")
else
    aside=''
    [ -n "$mode" ] || mode=600
fi

rm -f "$temp"
mv "$REQUORUM_STDIN" "$temp" && own "$temp" && [ "$(digest "$temp")" = "$sha" ] && sync "$temp" || {
    rm -f "$temp"
    fail "$path cannot be written" "$(df -P "$beside" | tail -n 1)" "see the output of this attempt" "look for a full disk and for the rights on $beside"
}
if [ -n "$aside" ]; then
    chcon --reference="$path" "$temp" 2>/dev/null || :
    # A second name for the old file, not a move: at no moment is there no file at the path.
    exists "$aside" || ln "$path" "$aside" || {
        rm -f "$temp"
        fail "$path cannot be set aside" "$aside on the same file system" "see the output of this attempt"
    }
fi
# A file of somebody else's stays somebody else's, whatever its content: its original is aside.
[ -n "$aside" ] && ! was_made "$path" || made "$temp" "$path"
mv -f "$temp" "$path" || fail "$path cannot be put in place" "" "see the output of this attempt"
[ -n "$aside" ] || ! command -v restorecon >/dev/null || restorecon "$path" || :
sync "$beside"
[ -z "$aside" ] || sync "$(dirname "$aside")"
answer true "$aside"
