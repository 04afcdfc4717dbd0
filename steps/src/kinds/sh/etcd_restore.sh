# Restores a snapshot as the data directory of one member.
snapshot=$1 data=$2 wal=$3 name=$4 peers=$5 cluster=$6 token=$7 bump=$8 mark=$9
shift 9
like=$1 tag=$2 unit=$3
record=$REQUORUM_ATTEMPT/etcd-restore

find_tools
data=$(real "$data") && parent=$(dirname "$data") && [ -d "$parent" ] ||
    refuse "there is no place for the data directory" "the directory that holds $2 exists" "" "make it, or correct \`etcd.data_dir\` in the site"
for place in "$data" ${wal:+"$wal"}; do
    held=$(contents "$place")
    [ -z "$held" ] || refuse "$place is not empty" "an absent or empty directory" "$(printf %s "$held" | head -n 5)" "stop etcd and set it aside first: nothing is overwritten"
done
# A lost disk leaves nothing to copy the owner from.
[ -z "$like" ] || exists "$like" || like=

# A mount point, or a directory in which something is kept, cannot be replaced: the data moves into it.
if [ -d "$data" ] && { is_mount_point "$data" || [ -n "$(ls -A "$data")" ]; }; then
    scratch=$data/.requorum-$tag.new made=$scratch/member target=$data/member
else
    scratch=$data.requorum-$tag.new made=$scratch target=$data
fi
refuse_if_full "$snapshot" "$(dirname "$scratch")"
wal_scratch=${wal:+$wal.requorum-$tag.new}
# The names carry the run and the step: what is there was left by an earlier attempt of this one.
rm -rf -- "$scratch" ${wal_scratch:+"$wal_scratch"}

set -- --data-dir "$scratch" --name "$name" --initial-advertise-peer-urls "$peers" --initial-cluster "$cluster" --initial-cluster-token "$token"
restore "$snapshot" "$bump" "$mark" "$@" ${wal_scratch:+--wal-dir "$wal_scratch"} || {
    rm -rf -- "$scratch" ${wal_scratch:+"$wal_scratch"}
    fail "${tool##*/} $version could not restore $snapshot" "a snapshot that is whole and fits this version" "" "the data directory was not touched; bring another snapshot"
}
revision=$("$tool" snapshot status "$snapshot" -w json 2>/dev/null | number revision)

# Owner, mode and label as before; without a model, as the directory itself, the user of the unit, or the one that holds it.
model=$like
[ -n "$model" ] || ! [ -d "$data" ] || model=$data
owner=
if [ -z "$model" ]; then
    model=$parent
    user=$([ -z "$unit" ] || systemctl show --property User --value -- "$unit" 2>/dev/null)
    [ -z "$user" ] || owner=$(id -u "$user"):$(id -g "$user") ||
        fail "the owner of the data cannot be found" "the user $user of the unit $unit"
fi
[ -n "$owner" ] || owner=$(stat -c %u:%g "$model")
for place in "$scratch" ${wal_scratch:+"$wal_scratch"}; do
    chown -R "$owner" "$place" && chmod 0700 "$place" || fail "the owner of $place cannot be set" "$owner"
    if command -v selinuxenabled >/dev/null && selinuxenabled && [ -n "$like" ]; then
        chcon -R --reference="$like" "$place" || fail "the SELinux label of $place cannot be set" "that of $like"
    fi
    sync_tree "$place"
done

# The evidence comes before the effect: the directory is known by its identity, under whatever name.
{
    say token "$token"
    say data_dir "$data"
    say id "$(identity "$made")"
    say tool "${tool##*/}"
    say version "$version"
    say program "$tool"
    say bumped "$bumped"
    say revision "$((${revision:-0} + bumped))"
} >"$record" && sync "$record" "$REQUORUM_ATTEMPT" || fail "the evidence cannot be written" "" "$record" "look for a full disk"

if [ -n "$wal" ]; then
    ! [ -d "$wal" ] || rmdir "$wal" || fail "$wal cannot be replaced" "an empty directory that is no mount point"
    mv "$wal_scratch" "$wal" && sync "$(dirname "$wal")" || fail "$wal_scratch cannot be renamed" "it becomes $wal"
fi
[ "$target" != "$data" ] || ! [ -d "$data" ] || rmdir "$data" || fail "$data cannot be replaced" "an empty directory"
mv "$made" "$target" && sync "$(dirname "$target")" || fail "$made cannot be renamed" "it becomes $target"
[ "$target" = "$data" ] || {
    chmod 0700 "$data" && chown "$owner" "$data" && rmdir "$scratch" && sync "$data"
} || fail "$data cannot be finished" "mode 0700 and the owner $owner"
if [ -z "$like" ] && command -v selinuxenabled >/dev/null && selinuxenabled && command -v restorecon >/dev/null; then
    restorecon -R "$data" ${wal:+"$wal"} || fail "the SELinux label of $data cannot be set"
fi
grep -v -e '^token=' -e '^id=' "$record"
