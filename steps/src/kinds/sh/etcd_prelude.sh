# What the scripts that use etcd's own tools share. POSIX sh with coreutils or busybox.
set -u
LC_ALL=C ETCDCTL_API=3
export LC_ALL ETCDCTL_API
umask 077

# A verdict ends a script: what, expected, seen, hint, on one line of standard error that the caller turns into a fault.
refuse() { verdict refused 64 "$@"; } # nothing was changed
fail() { verdict failed 65 "$@"; }    # it was tried, has ended and did not succeed
verdict() {
    verdict_word=$1 verdict_status=$2
    printf 'requorum:%s\t%s\t%s\t%s\t%s\n' "$verdict_word" "$3" "${4-}" "$(printf %s "${5-}" | tr '\n\t' '; ')" "${6-}" >&2
    exit "$verdict_status"
}

# One field of the answer.
say() { printf '%s=%s\n' "$1" "$2"; }

exists() { [ -e "$1" ] || [ -L "$1" ]; }
identity() { stat -c %d:%i "$1" 2>/dev/null; }

# Where a path really is: the last part need not exist.
real() { readlink -f "$1"; }

# Whether a file system is mounted at the directory. Reads the kernel's table, because neither mountpoint(1) nor a
# comparison of device numbers knows every bind mount.
is_mount_point() {
    real=$(printf %s "$1" | sed 's/\\/\\134/g; s/ /\\040/g') awk '$5 == ENVIRON["real"] { at = 1 } END { exit !at }' /proc/self/mountinfo
}

# What is in a directory, without what a file system or an earlier step keeps there.
contents() { ls -A "$1" 2>/dev/null | grep -v -e '^lost+found$' -e '^\.requorum-' || :; }

# Writes everything below a directory to the disk.
sync_tree() { find "$1" -exec sync {} +; }

# Sets tool to what restores snapshots, with its version and whether it bumps revisions.
find_tools() {
    need_program etcdutl etcdctl
    tool=$found
    version=$("$tool" version 2>/dev/null | version_in)
    usage=$("$tool" snapshot restore --help 2>&1)
    case $usage in
    *--data-dir*) ;;
    *) refuse "${tool##*/} $version cannot restore a snapshot" "etcdutl from etcd 3.6 on" "$(printf %s "$usage" | tail -n 3)" "put etcdutl beside it" ;;
    esac
    case $usage in *--bump-revision*) bumps=yes ;; *) bumps=no ;; esac
}

# Refuses unless there is room for the snapshot, its write-ahead log (64 MB) and some more beside a path.
refuse_if_full() {
    [ -f "$1" ] && [ -r "$1" ] || refuse "the snapshot cannot be read on this host" "a file at $1" "$(ls -ld "$1" 2>&1)" "bring it to the host first"
    need=$(($(stat -c %s "$1") / 1024 + 131072))
    free=$(df -Pk "$2" | awk 'NR == 2 { print $4 }')
    [ "$free" -ge "$need" ] || refuse "the file system of $2 is too full" "$need KiB free" "$free KiB free" "make room: the snapshot is restored in full"
}

# Restores a snapshot. $1: the snapshot, $2: the amount to raise revisions by, $3: true if the result is to be marked as
# compacted; then further flags. Sets bumped. Neither is used where the tool does not have it.
restore() {
    snapshot_file=$1 bumped=$2 mark=$3
    shift 3
    [ "$bumps" = yes ] || bumped=0 mark=false
    [ "$bumped" = 0 ] || set -- "$@" --bump-revision "$bumped"
    [ "$mark" = false ] || set -- "$@" --mark-compacted
    "$tool" snapshot restore "$snapshot_file" "$@" >&2
}

# A number of the tool's JSON, by its key.
number() { grep -o "\"$1\":[0-9]*" | head -n 1 | cut -d: -f2; }
