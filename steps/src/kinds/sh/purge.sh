# Removes what a run set aside. $1: the path, $2: the run, $3: `look`, to only measure it, or `remove`.
path=$1 run=$2 how=$3
case ${path##*/} in
*".requorum-$run-"* | ".requorum-aside-$run-"*) ;;
*) refuse "$path is not a name under which run $run sets something aside" "a name with requorum-$run-" ;;
esac
exists "$path" || exit 0
case $(kind_of "$path") in
directory)
    inner=$(mounts_at "$path")
    [ -z "$inner" ] || refuse "a file system is mounted in $path" "none" "$inner" "unmount it first"
    ;;
file) ;;
*) refuse "$path is neither a file nor a directory" "what was set aside" "$(ls -ld "$path")" ;;
esac
refuse_if_open "$path"
say kib "$(du -sk "$path" | cut -f1)"
[ "$how" = remove ] || exit 0
rm -rf -- "$path" || fail "$path cannot be removed" "" "see the output" "look for a read-only disk; a repetition goes on"
sync "$(dirname "$path")"
