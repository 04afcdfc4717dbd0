# Puts back what was set aside; what is at its path now is set aside too. $1: the path, $2: where it was set aside,
# $3: the name for what is at the path now, $4: RUN-STEP.
path=$1 aside=$2 displaced=$3 tag=$4
record=$REQUORUM_ATTEMPT/restore
earlier() { for old in "${REQUORUM_ATTEMPT%.*}".*/restore; do [ "$old" = "$record" ] || sed -n "s/^$1=//p" "$old" 2>/dev/null; done | tail -n 1; }
remember() {
    {
        say aside "$aside"
        say id "$(identity "$aside")"
    } >"$record" && sync "$record" "$REQUORUM_ATTEMPT" || fail "the evidence cannot be written" "" "$record" "look for a full disk"
}
answer() {
    exists "$1" || set -- ''
    say displaced "$1"
    say open_scan "$(scan_word)"
    exit 0
}

was=$(kind_of "$path")
[ "$was" != mountpoint ] || displaced=$path/.requorum-aside-$tag
if ! exists "$aside"; then
    if [ "$(earlier aside)" = "$aside" ]; then
        [ "$was" != mountpoint ] || answer "$displaced"
        ! exists "$path" || [ "$(identity "$path")" != "$(earlier id)" ] || answer "$displaced"
    fi
    refuse "there is nothing set aside at $aside" "what an earlier step set aside" "absent" "look for $path.requorum-* on the host"
fi
[ "$was" != symlink ] || refuse "$path is a symbolic link" "a file, a directory or nothing" "it points to $(readlink "$path")"

if [ "$was" != mountpoint ]; then
    if exists "$path"; then
        ! exists "$displaced" || refuse "the name for what is at $path now is taken" "$displaced does not exist" "$(ls -ld "$displaced")" "a name is never reused: look whose it is"
        [ "$(dirname "$displaced")" = "$(dirname "$path")" ] || [ "$(volume_of "$(dirname "$displaced")")" = "$(volume_of "$(dirname "$path")")" ] || refuse "$displaced is on another file system" "the one of $path"
        refuse_if_open "$path"
    fi
    [ -d "$(dirname "$path")" ] || refuse "the directory of $path is missing" "$(dirname "$path")" "absent"
    [ "$(volume_of "$(dirname "$path")")" = "$(volume_of "$(dirname "$aside")")" ] || refuse "$aside is on another file system than $path" "the same one, for a rename"
    refuse_if_open "$aside"
    remember
    # Cut off between the two renames, a further attempt finds nothing at the path and does the second.
    ! exists "$path" || move "$path" "$displaced"
    move "$aside" "$path"
    answer "$displaced"
fi

# Of a mount point the children are exchanged.
case $aside in "$path"/.requorum-aside-*) ;; *) refuse "$path is a mount point, and $aside is not a directory of children set aside in it" "$path/.requorum-aside-…" "$aside" ;; esac
refuse_if_open "$path"
remember
# What is there now goes first; an attempt that was cut off after that left a mark beside its record.
if [ -z "$(ls "${REQUORUM_ATTEMPT%.*}".*/exchanged 2>/dev/null)" ]; then
    mkdir -p "$displaced" && chmod "$(stat -c %a "$path")" "$displaced" && chown "$(stat -c %u:%g "$path")" "$displaced" ||
        fail "$displaced cannot be made" "" "see the output of this attempt"
    for child in "$path"/* "$path"/.[!.]* "$path"/..?*; do
        exists "$child" || continue
        case ${child##*/} in lost+found | .requorum-aside-*) continue ;; esac
        mv "$child" "$displaced/" || fail "$child cannot be moved into $displaced" "" "see the output of this attempt" "once the cause is gone, a retry goes on"
    done
    sync "$displaced" "$path"
    : >"$REQUORUM_ATTEMPT/exchanged" && sync "$REQUORUM_ATTEMPT"
fi
for child in "$aside"/* "$aside"/.[!.]* "$aside"/..?*; do
    exists "$child" || continue
    ! exists "$path/${child##*/}" || fail "$path/${child##*/} was made anew meanwhile" "nothing uses $path" "" "stop what uses it, move it away by hand, then retry"
    mv "$child" "$path/" || fail "$child cannot be moved back" "" "see the output of this attempt" "once the cause is gone, a retry goes on"
done
rmdir "$aside"
rmdir "$displaced" 2>/dev/null # where nothing was displaced
sync "$path"
answer "$displaced"
