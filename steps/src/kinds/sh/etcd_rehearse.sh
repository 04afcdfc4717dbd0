# Restores a snapshot into a scratch directory, starts it alone, reads what it holds and leaves nothing behind.
# It listens on sockets in the scratch directory: no port is taken, and nobody else can reach it.
snapshot=$1 data=$2 bump=$3 mark=$4 tag=$5 within=$6

find_tools
need_program etcdctl
etcdctl=$found
need_program etcd
etcd=$found
case $snapshot in /*) ;; *) snapshot=$PWD/$snapshot ;; esac

# On the file system that the restore will use.
data=$(real "$data") || refuse "there is no place for the data directory" "the directory that holds $2 exists"
if [ -d "$data" ] && is_mount_point "$data"; then scratch=$data/.requorum-$tag.rehearsal; else scratch=$data.requorum-$tag.rehearsal; fi
refuse_if_full "$snapshot" "$(dirname "$scratch")"
# The name carries the run and the step: what is there was left by an earlier attempt of this one.
rm -rf -- "$scratch"

pid=
clean_up() {
    trap - EXIT
    if [ -n "$pid" ]; then
        kill "$pid" 2>/dev/null && wait_for 10 gone || kill -9 "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    fi
    cd / && rm -rf -- "$scratch"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
gone() { ! kill -0 "$pid" 2>/dev/null; }
# Waits for so many seconds until a command succeeds.
wait_for() {
    until=$(($(date +%s) + $1))
    shift
    until "$@"; do
        [ "$(date +%s)" -lt "$until" ] || return 1
        sleep 0.2 2>/dev/null || sleep 1
    done
}

mkdir "$scratch" && cd "$scratch" || fail "$scratch cannot be made"
url=http://127.0.0.1:1 # nobody is ever asked there: a member has to have an address
restore "$snapshot" "$bump" "$mark" --data-dir data --name rehearsal --initial-cluster "rehearsal=$url" \
    --initial-advertise-peer-urls "$url" --initial-cluster-token "rehearsal-$tag" ||
    fail "${tool##*/} $version could not restore $snapshot" "a snapshot that is whole and fits this version" "" "nothing was touched; bring another snapshot"

"$etcd" --name rehearsal --data-dir data --listen-client-urls unix://client:0 --advertise-client-urls "$url" \
    --listen-peer-urls unix://peer:0 --initial-advertise-peer-urls "$url" --initial-cluster "rehearsal=$url" >log 2>&1 &
pid=$!
etcd_says() { fail "$1" "" "$(tail -n 5 log)" "this version of etcd does not serve this snapshot: compare their versions"; }
ask() { "$etcdctl" --endpoints unix://client:0 --dial-timeout 2s --command-timeout "${limit}s" "$@"; }
limit=5
serves() { gone || ask get health >/dev/null 2>&1; }
wait_for "$within" serves || etcd_says "the restored etcd did not serve within $within s"
! gone || etcd_says "the restored etcd ended"

limit=$within
hashes=$(ask endpoint hashkv -w json) && keys=$(ask get '' --prefix --keys-only --limit=1 -w fields | sed -n 's/^"Count" : //p') && [ -n "$keys" ] ||
    etcd_says "the restored etcd could not be read"
say revision "$(printf %s "$hashes" | number revision)"
say keys "$keys"
say hash "$(printf %s "$hashes" | number hash)"
say compact_revision "$(printf %s "$hashes" | number compact_revision)"
say bumped "$bumped"
say version "$("$etcd" --version | version_in)"
say program "$etcd"
