# Unpacks an archive that is on this host into a new or empty directory. $1: the archive, $2: the directory, $3: RUN-STEP.
src=$1 into=$2 tag=$3
temp=$(dirname "$into")/.${into##*/}.requorum-$tag.unpack
members=$REQUORUM_ATTEMPT/members

[ -f "$src" ] || refuse "there is no archive at $src" "a tar file" "$(kind_of "$src")"
[ -d "$(dirname "$into")" ] || refuse "the directory of $into is missing" "$(dirname "$into")" "absent" "make it first"
was=$(kind_of "$into")
case $was in
absent) mode='' owner='' ;;
directory)
    [ -z "$(ls -A "$into")" ] || refuse "$into is not empty" "an empty or new directory" "$(ls -A "$into" | head -n 5)" "set it aside first (file.set_aside)"
    mode=$(stat -c %a "$into") owner=$(stat -c %u:%g "$into")
    ;;
*) refuse "$into cannot take the archive" "an empty or new directory" "a $was" "name a directory inside it" ;;
esac

case $(od -An -tx1 -N4 "$src" | tr -d ' \n') in
1f8b*) tool=gzip ;;
28b52ffd) tool=zstd ;;
*) tool=cat ;;
esac
command -v "$tool" >/dev/null || refuse "the archive needs $tool, which this host does not have" "$tool" "not in PATH" "install it, or pack the archive with gzip"
[ "$tool" = cat ] || "$tool" -t "$src" 2>/dev/null || refuse "the archive is damaged" "$tool -t accepts it" "$("$tool" -t "$src" 2>&1 | tail -n 1)" "fetch it again"
unpacked() { if [ "$tool" = cat ]; then cat "$src"; else "$tool" -dc "$src"; fi; }

unpacked | tar -tf - >"$members" 2>"$members.said" || refuse "the archive cannot be read" "a tar archive, plain or packed with gzip or zstd" "$(tail -n 1 "$members.said")"
# busybox lists such members without what would lead outside, and says so.
outside=$(
    grep -E '^/|^\.\.$|^\.\./|/\.\./|/\.\.$' "$members" | head -n 5
    grep -i 'removing leading' "$members.said"
)
[ -z "$outside" ] || refuse "the archive has members that would leave the directory" "relative names without .." "$outside" "do not trust this archive"

rm -rf "$temp" # of an earlier attempt of this step, by its name
mkdir "$temp" && unpacked | tar -xpf - -C "$temp" || {
    rm -rf "$temp"
    fail "the archive cannot be unpacked" "$(df -P "$(dirname "$into")" | tail -n 1)" "see the output of this attempt" "look for a full disk"
}
if [ -n "$mode" ]; then chmod "$mode" "$temp" && chown "$owner" "$temp"; else chmod 755 "$temp"; fi
find "$temp" \( -type f -o -type d \) -exec sync {} +
made "$temp" "$into"
[ "$was" = absent ] || rmdir "$into" || {
    rm -rf "$temp"
    fail "$into cannot be replaced" "empty" "see the output of this attempt"
}
move "$temp" "$into"
! command -v restorecon >/dev/null || restorecon -R "$into" || :
say into "$into"
say members "$(wc -l <"$members" | tr -d ' ')"
