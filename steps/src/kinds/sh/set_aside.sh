# Sets a path aside by rename. $1: the path, $2: its new name, $3: RUN-STEP, $4: `given` if a plan gave the new name.
path=$1 aside=$2 tag=$3 given=$4
record=$REQUORUM_ATTEMPT/aside

# Prints the value of a key in the record that an earlier attempt of this step left.
earlier() { for old in "${REQUORUM_ATTEMPT%.*}".*/aside; do [ "$old" = "$record" ] || sed -n "s/^$1=//p" "$old" 2>/dev/null; done | tail -n 1; }
remember() {
    {
        say path "$path"
        say aside "$aside"
        say was "$was"
        say id "$id"
        say mode "$mode"
        say owner "$owner"
        say selinux "$selinux"
    } >"$record" && sync "$record" "$REQUORUM_ATTEMPT" || fail "the evidence cannot be written" "" "$record" "look for a full disk"
}
answer() {
    say was "$was"
    say aside "$1"
    say mode "$mode"
    say owner "$owner"
    say selinux "$selinux"
    say open_scan "$(scan_word)"
    exit 0
}

was=$(kind_of "$path")
case $was in
symlink) refuse "$path is a symbolic link" "a file or a directory" "it points to $(readlink "$path")" "name the place that it points to" ;;
other) refuse "$path is neither a file nor a directory" ;;
absent)
    was=$(earlier was) mode=$(earlier mode) owner=$(earlier owner) selinux=$(earlier selinux)
    # An earlier attempt of this step did it; or there was nothing, which is what a destroyed disk looks like.
    if [ -n "$was" ] && exists "$aside" && [ "$(identity "$aside")" = "$(earlier id)" ]; then answer "$aside"; fi
    was=absent mode='' owner='' selinux=''
    answer ''
    ;;
esac

case "$REQUORUM_ATTEMPT/" in "$path"/*) refuse "$path holds the capsules of requorum itself" "" "$REQUORUM_ATTEMPT" "set a directory inside it aside, or give the site another capsule_root" ;; esac
[ ! -d "$path" ] || inner=$(mounts_at "$path" | sed -n 's/^in //p')
[ -z "${inner-}" ] || refuse "file systems are mounted below $path" "none" "$inner" "set these aside by themselves first"
id=$(identity "$path") mode=$(stat -c %a "$path") owner=$(stat -c %u:%g "$path") selinux=$(context "$path")

if [ "$was" != mountpoint ]; then
    ! exists "$aside" || refuse "the name for what is set aside is taken" "$aside does not exist" "$(ls -ld "$aside")" "a name is never reused: look whose it is; another step id or run gives another name"
    beside=$(dirname "$aside")
    [ -d "$beside" ] || refuse "the directory for what is set aside is missing" "$beside" "absent" "make it, or leave \`to\` out"
    [ "$(volume_of "$beside")" = "$(volume_of "$(dirname "$path")")" ] ||
        refuse "$beside is on another file system than $path" "the same one, for a rename" "$(df -P "$beside" "$path" | tail -n +2)" "give \`to\` a path on the same file system"
    refuse_if_open "$path"
    remember
    move "$path" "$aside"
    answer "$aside"
fi

# A mount point cannot be renamed: its children move into a directory inside it, one by one, and this may be cut off
# anywhere. The directory belongs to this step by its name, so a further attempt goes on where the last one ended.
[ "$given" != given ] || refuse "$path is a mount point, so \`to\` cannot be used" "its children move into a directory inside it" "" "leave \`to\` out"
aside=$path/.requorum-aside-$tag
children() {
    for child in "$path"/* "$path"/.[!.]* "$path"/..?*; do
        exists "$child" || continue
        case ${child##*/} in lost+found | .requorum-aside-*) continue ;; esac
        "$@" "$child"
    done
}
refuse_if_twice() { ! exists "$aside/${1##*/}" || refuse "$1 is in $path and set aside too" "in one place" "something made it anew after an earlier attempt was cut off" "stop what uses $path; then look at both and move one away by hand"; }
children refuse_if_twice
[ -n "$(children echo)" ] || exists "$aside" || answer ''
if exists "$aside" && [ "$(earlier aside)" != "$aside" ] && [ -n "$(ls -A "$aside")" ]; then
    refuse "the name for what is set aside is taken" "$aside does not exist" "$(ls -A "$aside" | head -n 5)" "a name is never reused: look whose it is; another step id or run gives another name"
fi
children refuse_if_open
remember
if ! exists "$aside"; then
    mkdir "$aside" && chmod "$mode" "$aside" && chown "$owner" "$aside" && sync "$path" ||
        fail "$aside cannot be made" "" "see the output of this attempt"
fi
into_aside() { mv "$1" "$aside/" || fail "$1 cannot be moved into $aside" "" "see the output of this attempt" "the others are there already; once the cause is gone, a retry goes on"; }
children into_aside
sync "$aside" "$path"
answer "$aside"
