# Looks at a path and at what was set aside from it. $1: the path, $2: how the names of its asides begin; further
# arguments: other places where it may have been set aside.
# Answers fields of the path, and lines `child=ID NAME` (of a mount point) and `aside=ID PATH` with its `inner=ID NAME`.
path=$1 stem=$2
shift 2
was=$(kind_of "$path")
say was "$was"
if [ "$was" != absent ]; then
    say id "$(identity "$path")"
    say mode "$(stat -c %a "$path")"
    say owner "$(stat -c %u:%g "$path")"
    say selinux "$(context "$path")"
fi
# Prints `WORD=ID NAME` for each entry of a directory but lost+found and asides.
entries() {
    for entry in "$2"/* "$2"/.[!.]* "$2"/..?*; do
        exists "$entry" || continue
        case ${entry##*/} in lost+found | .requorum-aside-*) continue ;; esac
        say "$1" "$(identity "$entry") ${entry##*/}"
    done
}
if [ "$was" = mountpoint ]; then
    entries child "$path"
    set -- "$@" "$path"/.requorum-aside-*
fi
for aside in "$@" "$stem"*; do
    exists "$aside" || continue
    say aside "$(identity "$aside") $aside"
    case ${aside##*/} in .requorum-aside-*) entries inner "$aside" ;; esac
done
