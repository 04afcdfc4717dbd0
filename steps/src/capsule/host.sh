# The host's half of the capsule: see capsule/mod.rs for the protocol.
#
# POSIX shell (dash, bash, busybox ash) with flock, setsid and `sync FILE`. It is never installed: it comes with every call,
# as `sh -c BOOT sh THIS NONCE OPERATION ARGUMENT...`, where BOOT keeps THIS in $me, so that `launch` can hand it on to the
# wrapper. Every line that answers begins with the nonce; anything else on standard output is the login shell's.
set -u
mask=$(umask) # the command's
umask 077
nonce=$1 operation=$2
shift 2
cap=524288
boot='me=$1; shift; eval "$me"'

say() { printf '%s %s\n' "$nonce" "$*"; }
refuse() {
    say "refused $*"
    exit 0
}

# --- the state of an attempt -------------------------------------------------------------------------------------------

# Reads the start record of the attempt $1. An incomplete record was never synced, so its command never began.
started() {
    s_end=
    [ -f "$1/start" ] || return 1
    { read -r s_boot && read -r s_session && read -r s_since && read -r s_end; } <"$1/start"
    [ "$s_end" = end ]
}

# Says whether the attempt $1 may have begun: it must not be started (again).
begun() { [ -f "$1/status" ] || started "$1"; }

# Looks at the living processes of the attempt $1: sets `found` to all of its session, `work` to those of the command. Kept
# apart are the leader and the helpers that keep the output: who ends those loses the status and the last words.
members() {
    sid=$s_session since=$s_since helpers= found= work=
    [ ! -f "$1/helpers" ] || read -r helpers <"$1/helpers"
    helpers=" $sid $helpers "
    for p in /proc/[0-9]*; do
        pid=${p#/proc/} line=
        { read -r line <"$p/stat"; } 2>/dev/null
        case $line in
        *') '*) ;;
        *) line=$(tr '\n' ' ' 2>/dev/null <"$p/stat") ;; # gone, or a name with a line break
        esac 2>/dev/null
        # shellcheck disable=SC2086 # split into fields: $1 state, $2 parent, $4 session, $20 start time (proc(5), less 2)
        set -- ${line##*') '}
        [ $# -ge 20 ] && [ "$4" = "$sid" ] || continue
        if [ "$pid" = "$sid" ] && [ "${20}" != "$since" ]; then
            found='' work='' # the number was given to another process: nothing of ours is left
            return
        fi
        case $1 in Z | X) continue ;; esac
        found="$found $pid"
        case $helpers in
        *" $pid "*) continue ;;
        *" $2 "*) [ "$2" = "$sid" ] || continue ;; # the child of a helper
        esac
        work="$work $pid"
    done
}

# Sets `what`, `status` and `rebooted` for the attempt $1.
look_at() {
    status=- rebooted=0
    [ -d "$1" ] || { what=absent && return; }
    ended "$1" && return
    started "$1" || { what=not-started && return; }
    flock -n -s "$1/lock" true || { what=running && return; }
    ended "$1" && return # the wrapper may have ended just now
    read -r now </proc/sys/kernel/random/boot_id
    [ "$now" = "$s_boot" ] || { what=dead rebooted=1 && return; }
    members "$1"
    if [ -n "$found" ]; then what=running; else what=dead; fi
}

ended() {
    [ -f "$1/status" ] && read -r status <"$1/status" && what=exited
}

# Waits until no launch is under way in the cluster's directory $1.
settle() {
    [ -f "$1/fence.lock" ] || return 0
    exec 8<"$1/fence.lock"
    flock -s 8
    exec 8<&-
}

size() { if [ -s "$1" ]; then wc -c <"$1"; else echo 0; fi; }

# Answers with the state of the attempt in `dir` and, if $1 is `output`, with what it wrote: the sizes, then the bytes.
report() {
    if [ "$1" = output ] && [ -d "$dir" ]; then
        # shellcheck disable=SC2046 # one number each
        say state "$what" "$status" "$rebooted" $(size "$dir/out.head") $(size "$dir/out.tail") \
            $(size "$dir/err.head") $(size "$dir/err.tail")
        for part in out.head out.tail err.head err.tail; do
            [ ! -s "$dir/$part" ] || cat "$dir/$part"
        done
    else
        say state "$what" "$status" "$rebooted" 0 0 0 0
    fi
}

# Removes the spooled input of the attempt $1.
tidy() {
    rm -f "$1"/stdin.*
    for record in "$1"/secret.*; do
        [ -f "$record" ] && read -r secret <"$record" || continue
        rm -f "$secret/stdin"
        rmdir "$secret" 2>/dev/null
        rm -f "$record"
    done
}

# --- the fence ---------------------------------------------------------------------------------------------------------

read_fence() {
    [ -f "$1/fence" ] || return 1
    { read -r f_run && read -r f_epoch && read -r f_finished && read -r f_token && read -r f_label; } <"$1/fence" ||
        refuse "the fence $1/fence is damaged; look who else recovers this cluster, then remove the file"
}

write_fence() {
    printf '%s\n' "$2" "$3" "$4" "$5" "$6" >"$1/fence.tmp" && sync "$1/fence.tmp" && mv -f "$1/fence.tmp" "$1/fence" &&
        sync "$1" || refuse "the fence $1/fence cannot be written (is the disk full or read-only?)"
}

# Says whether the holder with run $2, epoch $3 and token $4 may `launch`, `raise` or `take-over` ($1) under the fence read.
may_hold() {
    [ "$f_run $f_epoch $f_token" != "$2 $3 $4" ] || return 0
    if [ "$f_epoch" -lt "$3" ]; then
        [ "$f_run" = "$2" ] || [ "$f_finished" = 1 ] || [ "$1" = take-over ]
    else
        [ "$1" != launch ] && [ "$f_finished" = 1 ] && [ "$f_run" != "$2" ]
    fi
}

# Sets the fence in $1 for `run`, `epoch`, `token`, `label`, or ends with the holder who forbids it. Needs the lock.
hold_fence() {
    if read_fence "$1"; then
        may_hold "$2" "$run" "$epoch" "$token" || {
            say "fenced $f_run $f_epoch $f_finished $f_token $f_label"
            exit 0
        }
        [ "$f_run $f_epoch $f_token $f_finished" != "$run $epoch $token 0" ] || return 0
    fi
    write_fence "$1" "$run" "$epoch" 0 "$token" "$label"
}

# Makes the directory $1 with its parents; whatever is new will survive a crash.
make() {
    [ ! -d "$1" ] || return 0
    mkdir -p "$1" 2>/dev/null || [ -d "$1" ] || refuse "$(id -un) cannot make the directory $1 (is the disk full or read-only?)"
    up=$1
    while [ -n "$up" ]; do
        sync "$up"
        up=${up%/*}
    done
}

lock_cluster() {
    exec 8>>"$1/fence.lock"
    flock 8 || refuse "$1/fence.lock cannot be locked"
}

# --- launch ------------------------------------------------------------------------------------------------------------

# Prints a directory in memory, which a secret may touch.
memory() {
    if [ "$(id -u)" = 0 ]; then set -- /run /dev/shm; else set -- "${XDG_RUNTIME_DIR:-/dev/shm}" /dev/shm; fi
    for base in "$@"; do
        [ -d "$base" ] && [ -w "$base" ] && in_memory "$base" || continue
        [ "$base" != /run ] || { base=/run/requorum && mkdir -p "$base"; }
        echo "$base"
        return
    done
    return 1
}

in_memory() {
    best= type=
    while read -r _ point kind _; do
        case "$1/" in
        "${point%/}"/*) [ ${#point} -lt ${#best} ] || best=$point type=$kind ;;
        esac
    done </proc/mounts
    [ "$type" = tmpfs ] || [ "$type" = ramfs ]
}

# Spools standard input, all `length` bytes of it or nothing; sets `spool`.
receive() {
    if [ "$input" = secret ]; then
        base=$(memory) || refuse "a secret needs a tmpfs for its spool, and neither /run nor /dev/shm is one"
        spool=$(mktemp -d "$base/requorum.XXXXXX") || refuse "$base cannot be written"
        printf '%s\n' "$spool" >"$dir/secret.${spool##*.}"
        spool=$spool/stdin
    else
        spool=$(mktemp "$dir/stdin.XXXXXX") || refuse "$dir cannot be written"
    fi
    say send
    cat >"$spool" 2>/dev/null
    got=$(wc -c <"$spool") || got=0 # another launch of this attempt has ended and tidied up
    got=$((got))
    [ "$got" = "$length" ] || begun "$dir" || {
        discard
        refuse "$got of $length bytes of standard input arrived: the disk is full, or the file changed on the way"
    }
}

discard() {
    [ "$spool" = /dev/null ] || rm -f "$spool"
    [ "$input" != secret ] || rmdir "${spool%/*}" 2>/dev/null # its record goes with the others, when the command has ended
}

launch() {
    root=$1 home=$1/$2 run=$3 dir=$1/$2/$3/$4 epoch=$5 token=$6 label=$7 input=$8 length=$9
    shift 9
    make "$home/$run"
    lock_cluster "$home"
    if ! begun "$dir"; then
        hold_fence "$home" launch
        mkdir "$dir" 2>/dev/null || [ -d "$dir" ] || refuse "the directory $dir cannot be made (is the disk full or read-only?)"
        spool=/dev/null
        if [ "$input" != empty ]; then
            flock -u 8 # nobody must wait for the data; who came in between is seen below
            receive
            flock 8
        fi
        if begun "$dir"; then discard; else hold_fence "$home" launch && begin "$@"; fi
    fi
    exec 8>&-
    say begun
    follow
}

# Starts the wrapper under the lock of the attempt and returns when its start record is durable. Needs the fence's lock.
begin() {
    printf '%s\n' "$@" >"$dir/command" || {
        discard
        refuse "$dir/command cannot be written (is the disk full or read-only?)"
    }
    rm -f "$dir/start"
    exec 9>>"$dir/lock"
    flock 9
    answer=$(umask "$mask"; setsid sh -c "$boot" sh "$me" "$nonce" wrap "$home/$run" "$dir" "$spool" "$@" \
        </dev/null 2>"$dir/wrapper.log" 8>&- &)
    exec 9>&-
    [ "$answer" = begun ] || begun "$dir" || {
        discard
        refuse "the command was not started: $(tr '\n' ' ' <"$dir/wrapper.log")"
    }
}

# Waits for the end of the attempt in `dir` and reports it; meanwhile it tells once a second what was written since. The lock is
# free once the wrapper is gone, however it went.
follow() {
    exec 2>/dev/null # nobody reads it until the end, and a shell may note there whom `timeout` ended
    out_told=0 err_told=0
    while :; do
        timeout 1 flock -s "$dir/lock" true
        case $? in
        124 | 143) ;; # the time is over: coreutils, busybox
        *)
            look_at "$dir"
            [ "$what" = running ] || break
            sleep 1 # the wrapper was killed, its command lives
            ;;
        esac
        tell out "$out_told" && out_told=$new
        tell err "$err_told" && err_told=$new
    done
    [ "$what" != dead ] || tidy "$dir"
    report output
}

# Tells what the beginning of the stream $1 has after its first $2 bytes, and sets `new` to what it has in all. It only grows.
tell() {
    new=$(($(size "$dir/$1.head")))
    [ "$new" -gt "$2" ] || return
    say chunk "$1" "$2" $((new - $2))
    tail -c +$(($2 + 1)) "$dir/$1.head" | head -c $((new - $2))
}

# --- the wrapper: a session of its own, descriptor 9 is the attempt's lock -----------------------------------------------

# Keeps the first and the last bytes of standard input in $1.head and $1.tail. dd writes each block as it has read it, however
# short, and does not read ahead. After its count of blocks the next dd goes on; where it read fewer, the input has ended.
# Fails where that cannot be written. (`stop` spares only direct children of this process, so there is no command substitution.)
keep() {
    left=$cap kept=0
    : >"$1.head"
    while [ "$left" -gt 0 ]; do
        block=1024
        [ "$left" -ge "$block" ] || block=$left
        dd bs="$block" count=$((left / block)) >>"$1.head" 2>"$1.note" || { kept=1 && break; }
        while read -r note _; do
            case $note in [0-9]*+[0-9]*) break ;; esac # FULL+SHORT records in, after whatever it warns of
        done <"$1.note"
        note=${note:-0+0}
        [ $((${note%+*} + ${note#*+})) = $((left / block)) ] || break
        wc -c <"$1.head" >"$1.note" && read -r left <"$1.note" || break
        left=$((cap - left))
    done
    rm -f "$1.note"
    tail -c $((cap + 1)) >"$1.tail" && return "$kept"
}

# Makes a pipe of two descriptors, $2 to read and $3 to write.
pipe() {
    mkfifo "$1.pipe"
    eval "exec 3<>$1.pipe $2<$1.pipe $3>$1.pipe 3>&-"
    rm -f "$1.pipe"
}

# Starts what keeps the stream $1, read from descriptor $2: sets `keeper` and `feeder`. The pipe between the two is open at both
# ends before either begins: if the wrapper is killed in between, the one that is there comes to an end, and waits for nobody.
# (`exec` closes descriptors for good; a redirection of a function or group would keep a copy of them.)
start_keeping() {
    mkfifo "$1.kept"
    exec 3<>"$1.kept" 8<"$1.kept" >"$1.kept" 3>&-
    rm -f "$1.kept"
    (exec <&8 >/dev/null 4<&- 5>&- 6<&- 7>&- 8<&- 9>&- && keep "$1") & keeper=$!
    (exec <&"$2" 4<&- 5>&- 6<&- 7>&- 8<&- 9>&- && exec cat) & feeder=$!
    exec >/dev/null 8<&-
}

wrap() {
    parent=$1 dir=$2 spool=$3
    shift 3
    cd "$dir" || exit
    record || exit
    echo begun
    exec >/dev/null
    pipe out 4 5
    pipe err 6 7
    trap '' TERM # what keeps the output outlives a TERM to the session
    start_keeping out 4
    out=$keeper out_cat=$feeder
    start_keeping err 6
    err=$keeper err_cat=$feeder
    trap : TERM
    echo "$out $err $out_cat $err_cat" >helpers
    run_command "$@"
    status=$?
    exec 5>&- 7>&-
    drain || exit # on a full disk no outcome is better than one with a part of the output
    rm -f helpers
    tidy "$dir"
    printf '%s\n' "$status" >status.tmp && sync out.head out.tail err.head err.tail status.tmp &&
        mv status.tmp status && sync .
}

# Writes the start record. Nothing has happened yet, so one sync makes all of it durable.
record() {
    read -r now </proc/sys/kernel/random/boot_id && read -r line <"/proc/$$/stat" || return
    # shellcheck disable=SC2086 # split into fields
    since=$(set -- ${line##*') '} && echo "${20}")
    printf '%s\n' "$now" "$$" "$since" end >start || return
    if [ "$spool" = /dev/null ]; then
        sync start command . "$parent"
    else
        sync start command "$spool" . "$parent"
    fi
}

run_command() {
    REQUORUM_ATTEMPT=$dir REQUORUM_STDIN=$spool
    export REQUORUM_ATTEMPT REQUORUM_STDIN
    (umask "$mask" && exec sh -c "$@" <"$spool" >&5 2>&7 4<&- 5>&- 6<&- 7>&- 9>&-)
}

# Waits for the end of the output: 2 s at most, if a process in the background still has it open. That one can write on. Fails
# where the output could not be kept.
drain() {
    (
        exec 9>&- 2>/dev/null
        trap 'kill "$nap" 2>/dev/null; exit' TERM
        sleep 2 & nap=$!
        wait "$nap"
        trap '' TERM
        cat <&4 >/dev/null &
        cat <&6 >/dev/null &
        kill -s KILL "$out_cat" "$err_cat"
    ) & timer=$!
    echo "$out $err $out_cat $err_cat $timer" >helpers
    wait "$out"
    kept=$?
    wait "$err" || kept=$?
    kill -s TERM "$timer" 2>/dev/null
    return "$kept"
}

# --- stop --------------------------------------------------------------------------------------------------------------

# Tells the command to end, kills it after $1 seconds, then whatever is left of the session; sees it gone.
stop() {
    look_at "$dir"
    [ "$what" = running ] || return 0
    if started "$dir"; then
        members "$dir"
        # shellcheck disable=SC2086 # several numbers
        kill -s TERM $work 2>/dev/null
        until_gone work "$1" : || until_gone work 10 'kill -s KILL'
        until_gone found 5 : || until_gone found 10 'kill -s KILL'
    fi
    look_at "$dir"
    [ "$what" != dead ] || tidy "$dir"
}

# Waits at most $2 seconds until there is no `work`, or nothing `found` ($1), doing $3 to what there is.
until_gone() {
    deadline=$(($(date +%s) + $2))
    while members "$dir" && eval "left=\$$1" && [ -n "$left" ]; do
        # shellcheck disable=SC2086 # several numbers
        $3 $left 2>/dev/null
        [ "$(date +%s)" -lt "$deadline" ] || return 1
        sleep 0.1 2>/dev/null || sleep 1
    done
}

# --- greet -------------------------------------------------------------------------------------------------------------

need() { command -v "$1" >/dev/null 2>&1 || refuse "the host has no '$1': install the package $2, or busybox"; }

greet() {
    root=$1
    for tool in flock setsid; do need "$tool" util-linux; done
    for tool in sync timeout dd head tail cat tr wc mkdir mkfifo mktemp mv rm rmdir sleep date id; do need "$tool" coreutils; done
    [ -r /proc/sys/kernel/random/boot_id ] && [ -r /proc/self/stat ] || refuse "the host has no /proc: a Linux host is needed"
    near=$root
    while [ -n "$near" ] && [ ! -e "$near" ]; do near=${near%/*}; done
    near=${near:-/}
    [ -d "$near" ] && [ -w "$near" ] && [ -x "$near" ] ||
        refuse "$(id -un) cannot write below $near, where the capsules go ($root): set 'become: sudo' or another capsule_root"
    setsid true || refuse "'setsid' does not work"
    timeout 9 true || refuse "'timeout 9 true' fails: coreutils or busybox 1.30 is needed"
    sync "$near" || refuse "'sync $near' fails: coreutils 8.24 or busybox and a disk without errors are needed"
    read -r now </proc/sys/kernel/random/boot_id
    if in_memory "$near"; then memory=1; else memory=0; fi
    say hello "$now" "$(id -un)" "$memory" "$(date +%s)" "$(date +%N)"
}

case $operation in
greet) greet "$1" ;;
launch) launch "$@" ;;
wrap) wrap "$@" ;;
state)
    dir=$1/$2/$3/$4
    settle "$1/$2"
    look_at "$dir"
    report brief
    ;;
stop)
    dir=$1/$2/$3/$4
    settle "$1/$2"
    stop "$5"
    report brief
    ;;
fence-see)
    settle "$1/$2"
    if read_fence "$1/$2"; then say "fence $f_run $f_epoch $f_finished $f_token $f_label"; else say no-fence; fi
    ;;
fence-raise)
    home=$1/$2 run=$3 epoch=$4 token=$5 label=$6
    make "$home"
    lock_cluster "$home"
    hold_fence "$home" "$7"
    say done
    ;;
fence-lower)
    home=$1/$2
    [ -d "$home" ] || { say done && exit; }
    lock_cluster "$home"
    if read_fence "$home" && [ "$f_run $f_epoch $f_token" = "$3 $4 $5" ]; then
        write_fence "$home" "$3" "$4" 1 "$5" "$f_label"
    fi
    say done
    ;;
forget)
    # $3: a run that is over, $4: `look`, to only refuse what cannot be forgotten, or `remove`.
    home=$1/$2
    [ -d "$home/$3" ] || { say done && exit; }
    lock_cluster "$home"
    for dir in "$home/$3"/*@*; do
        [ -d "$dir" ] || continue
        look_at "$dir"
        [ "$what" != running ] || refuse "the attempt ${dir##*/} of run $3 still runs; wait for its end, or stop it"
    done
    if [ "$4" = remove ]; then
        rm -rf -- "${home:?}/${3:?}" && sync "$home" || refuse "$home/$3 cannot be removed (is the disk read-only?)"
    fi
    say done
    ;;
*) refuse "unknown operation $operation" ;;
esac
