# Looks at the content of a file. $1: the path, $2: how the names of its asides begin.
path=$1 stem=$2
was=$(kind_of "$path")
say was "$was"
[ ! -L "$path" ] || path=$(readlink -f "$path")
[ -f "$path" ] || exit 0
say id "$(identity "$path")"
say sha256 "$(digest "$path")" || exit 1
say size "$(size_of "$path")"
say mode "$(stat -c %a "$path")"
say owner "$(stat -c %u:%g "$path")"
say owner_name "$(stat -c %U:%G "$path")"
for aside in "$stem"*; do
    ! exists "$aside" || say aside "$(identity "$aside") $aside"
done
