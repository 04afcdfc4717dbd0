# Processes that outlive the command that started them, known by a pid file. Sourced by `testbed`.
#
# A pid file holds "PID STARTTIME", STARTTIME being field 22 of /proc/PID/stat. A pid alone may have been given to
# somebody else since; pid and start time together name one process for as long as the machine is up. Nothing is ever
# signalled that does not match both.
# shellcheck shell=bash

# Runs a command every 50 ms until it succeeds. Fails when it has not within SECONDS.
# usage: wait_until SECONDS COMMAND [ARG…]
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
}

# Prints the start time of a process; fails if there is none. A zombie is none, unless threads of it still run (a killed
# etcd whose first thread is gone may hold its ports and its lock a moment longer).
start_time() {
    local stat
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    # The name, in parentheses, may itself hold spaces and parentheses: what counts begins after the last one.
    read -ra stat <<<"${stat##*) }"
    # stat[0] is field 3 (state), stat[17] field 20 (threads), stat[19] field 22 (start time).
    [[ ${stat[0]} != [ZX] ]] || ((stat[17] > 1)) || return 1
    printf '%s\n' "${stat[19]}"
}

# Prints the pid of a pid file if that very process is alive.
alive_pid() {
    local pid started
    { read -r pid started <"$1"; } 2>/dev/null || return 1
    [[ $pid =~ ^[1-9][0-9]*$ && $(start_time "$pid") == "$started" ]] || return 1
    printf '%s\n' "$pid"
}

is_alive() { alive_pid "$1" >/dev/null; }
is_dead() { ! is_alive "$1"; }

# Starts a command as a session of its own, cut off from this one: no terminal, no inherited descriptors (an SSH session or
# a lock must not be held open by it), output appended to LOG.
# usage: launch PID_FILE LOG COMMAND [ARG…]
launch() {
    local pid_file=$1 log=$2
    shift 2
    rm -f "$pid_file"
    (
        for fd in /proc/self/fd/*; do
            fd=${fd##*/}
            ((fd <= 2)) || eval "exec $fd>&-"
        done
        # The process writes its own pid file before it becomes the command: it never runs unrecorded. Neither setsid,
        # which forks only for a leader of a process group, nor exec changes pid or start time.
        self=$BASHPID
        printf '%s %s\n' "$self" "$(start_time "$self")" >"$pid_file"
        exec setsid "$@"
    ) </dev/null >>"$log" 2>&1 &
    wait_until 5 test -s "$pid_file"
}

# Kills the process of a pid file with SIGKILL and waits until it is gone. Fails if it is not within 10 s.
kill_now() {
    local pid
    if pid=$(alive_pid "$1"); then
        kill -KILL "$pid" 2>/dev/null || true
        wait_until 10 is_dead "$1" || return 1
    fi
    rm -f "$1"
}

# Asks the process of a pid file to end, kills it after 10 s, and waits until it is gone.
stop_gently() {
    local pid
    if pid=$(alive_pid "$1"); then
        kill -TERM "$pid" 2>/dev/null || true
        wait_until 10 is_dead "$1" || true
    fi
    kill_now "$1"
}

# Kills the sshd of a pid file and every connection to it, but not what runs over those connections. A connection is one
# sshd, or a chain of two of which each holds the socket.
kill_sshd() {
    local pid
    ! pid=$(alive_pid "$1") || kill_sshd_tree "$pid" || return 1
    kill_now "$1"
}

# Each is frozen before its children are listed, so that none is added meanwhile.
kill_sshd_tree() {
    local pid=$1 started child program
    started=$(start_time "$pid") || return 0
    kill -STOP "$pid" 2>/dev/null || return 0
    while read -r child program; do
        [[ $program != sshd* ]] || kill_sshd_tree "$child" || return 1
    done < <(ps -o pid=,comm= --ppid "$pid")
    kill -KILL "$pid" 2>/dev/null || true
    wait_until 10 is_other "$pid" "$started"
}

# Whether a pid no longer belongs to the process that had this start time.
is_other() { [[ $(start_time "$1") != "$2" ]]; }
