# Removes a file or directory that this run made, and nothing else. $1: the path, $2: RUN-STEP.
path=$1 gone=$(dirname "$1")/.${1##*/}.requorum-$2.removed
# What an attempt that was cut off has renamed, but not removed.
rm -rf "$gone"
if ! exists "$path"; then
    say removed false
    exit 0
fi
was_made "$path" || refuse "$path was not made by this run" "what a step of this run made" "$(ls -ld "$path")" "set it aside instead (file.set_aside)"
if [ -d "$path" ]; then
    inner=$(mounts_at "$path")
    [ -z "$inner" ] || refuse "a file system is mounted in $path" "none" "$inner"
fi
refuse_if_open "$path"
move "$path" "$gone"
rm -rf "$gone" || fail "$path is renamed, but cannot be removed" "" "$gone" "remove it by hand"
sync "$(dirname "$path")"
say removed true
