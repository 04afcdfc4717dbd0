# What the scripts of file.* and service.* share. POSIX sh with coreutils or busybox; no local variables by keyword.
set -u
LC_ALL=C
export LC_ALL
umask 077
tab=$(printf '\t')

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
identity() { stat -c %d:%i "$1"; }
digest() { sha256sum <"$1" | cut -d' ' -f1; }
size_of() { stat -c %s "$1"; }
# An SELinux context; empty where there is none.
context() { stat -c %C "$1" 2>/dev/null | grep : || :; }

# absent | symlink | mountpoint | directory | file | other
kind_of() {
    if [ -L "$1" ]; then
        echo symlink
    elif [ ! -e "$1" ]; then
        echo absent
    elif [ -d "$1" ]; then
        if mounts_at "$1" | grep -q '^at$'; then echo mountpoint; else echo directory; fi
    elif [ -f "$1" ]; then
        echo file
    else
        echo other
    fi
}

# Prints `at` where a file system is mounted at the directory, and `in PATH` for each one mounted below it. Reads the
# kernel's table, because neither mountpoint(1) nor a comparison of device numbers knows every bind mount.
mounts_at() {
    mounts_real=$(cd -P "$1" && pwd -P) || return 0
    mounts_real=$(printf %s "$mounts_real" | sed 's/\\/\\134/g; s/ /\\040/g')
    real=$mounts_real awk '
        $5 == ENVIRON["real"] { print "at" }
        index($5, ENVIRON["real"] "/") == 1 { print "in " $5 }' /proc/self/mountinfo
}

# Prints `device mountpoint` of what a path is on. The mount point counts: rename does not cross a bind mount.
volume_of() { printf '%s %s' "$(stat -c %d "$1")" "$(df -P "$1" | awk 'NR == 2 { $1 = $2 = $3 = $4 = $5 = ""; print }')"; }

# Prints `PID NAME` of each process that holds something at or below a path open or mapped, by device and inode, so that
# processes in other mount namespaces are seen. Complete as root; else only the caller's own processes.
holders_of() {
    {
        find "$1" -xdev -exec stat -c 'inside %d:%i' {} +
        find /proc/[0-9]*/fd /proc/[0-9]*/map_files -maxdepth 1 -type l -exec stat -L -c '%n %d:%i' {} + 2>/dev/null
        grep -lF -- " $1/" /proc/[0-9]*/maps 2>/dev/null | sed 's/$/ mapped/'
    } | awk '
        $1 == "inside" { inside[$2] = 1; next }
        $2 == "mapped" || $2 in inside { split($1, part, "/"); print part[3] }
    ' | sort -un | while read -r holder; do
        printf '%s %s\n' "$holder" "$(cat "/proc/$holder/comm" 2>/dev/null)"
    done
}
refuse_if_open() {
    open_by=$(holders_of "$1")
    [ -z "$open_by" ] || refuse "a process has something in $1 open" "nobody uses it" "$open_by" \
        "stop these processes (number, name) first, then retry"
}
scan_word() { if [ "$(id -u)" = 0 ]; then echo complete; else echo own-processes; fi; }

# Where this run remembers what it made on this host: device:inode, tab, path.
made_file() { echo "$(dirname "$REQUORUM_ATTEMPT")/made"; }
# Remembers that a file or directory (the first argument) will be found at a path: called before the rename there.
made() {
    printf '%s\t%s\n' "$(identity "$1")" "$2" >>"$(made_file)" && sync "$(made_file)" ||
        fail "the record of what this run made cannot be written" "" "$(made_file)" "look for a full or read-only disk"
}
was_made() { grep -qxF "$(identity "$1")$tab$1" "$(made_file)" 2>/dev/null; }

# Renames, and makes the rename durable. Both paths are in one file system, and the second does not exist.
move() {
    mv "$1" "$2" && sync "$(dirname "$2")" "$(dirname "$1")" ||
        fail "$1 cannot be renamed" "it becomes $2" "see the output of this attempt"
}
