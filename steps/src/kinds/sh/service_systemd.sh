# A service that systemd runs. $1: status | start | stop | restart | enable | release, $2: the unit, $3: the record of its being
# held down. systemd 219 (CentOS 7) is the oldest: `show` has no --value there and knows no InvocationID.
verb=$1 unit=$2 held=$3
property() { systemctl show -p "$1" "$unit" | sed -n "s/^$1=//p"; }
active() { property ActiveState; }
enabled() { systemctl is-enabled "$unit" 2>/dev/null | head -n 1; }
# What differs between one start and the next.
since() { echo "$(property ExecMainStartTimestampMonotonic) $(property InvocationID)"; }
recent() { systemctl status --no-pager --full --lines=8 "$unit" 2>&1 | tail -n 8; }

command -v systemctl >/dev/null || refuse "this host has no systemctl" "systemd" "no systemctl in PATH" "name the service's manager in the site (services)"
loaded=$(property LoadState)
case $loaded in
loaded) ;;
masked) [ "$verb" = status ] || [ "$verb" = stop ] || refuse "the unit $unit is masked" "a loaded unit" "masked" "systemctl unmask $unit" ;;
'') refuse "systemd does not answer" "systemctl show $unit" "$(systemctl show -p LoadState "$unit" 2>&1 | head -n 1)" "name the service's manager in the site (services)" ;;
*) refuse "there is no unit $unit" "a loaded unit" "$loaded" "name the unit in the site (services), or look at systemctl status $unit" ;;
esac

# Looks for a few seconds, so that a service that ends at once is noticed; that it serves is what a plan's verify waits for.
settle() {
    for second in 1 2 3; do
        state="$(active) $(property SubState)"
        case $state in
        failed* | *auto-restart*) fail "$unit was started and ended at once" "it keeps running" "$state: $(recent)" "journalctl -u $unit on this host" ;;
        esac
        sleep 1
    done
}

# Has it start at boot as it did before it was held down, and ends that it is.
let_go() {
    case $(held_field enabled) in
    enabled) systemctl enable "$unit" || fail "$unit cannot be enabled again" "as it was before it was stopped" "$(enabled)" ;;
    enabled-runtime) systemctl enable --runtime "$unit" || fail "$unit cannot be enabled again" "as it was before it was stopped" "$(enabled)" ;;
    esac
    release
}

case $verb in
status)
    say active "$(active)"
    say sub "$(property SubState)"
    say since "$(since)"
    say enabled "$(enabled)"
    say held "$(held_word)"
    say held_enabled "$(held_field enabled)"
    ;;
stop)
    case "$(active) $(enabled)" in *ing\ * | active* | *\ enabled*) say changed true ;; *) say changed false ;; esac
    # Recorded before it is disabled, and only once: a later attempt would record what the first one did.
    exists "$held" || hold "enabled=$(enabled)"
    case $(enabled) in enabled*) systemctl disable "$unit" || fail "$unit cannot be disabled" "it stays down across a reboot" "$(enabled)" ;; esac
    systemctl stop "$unit" || fail "$unit cannot be stopped" "inactive" "$(active): $(recent)"
    case $(active) in
    inactive | failed) ;;
    *) fail "$unit does not stay down" "inactive" "$(active)" "something starts it again: systemctl list-dependencies --reverse $unit" ;;
    esac
    ;;
start)
    case "$(active) $(held_word)" in active\ no | activating\ no) say changed false ;; *) say changed true ;; esac
    let_go
    systemctl reset-failed "$unit" 2>/dev/null || :
    # Does not wait for the start to be complete: the first etcd of several says so only when a quorum is up.
    systemctl start --no-block "$unit" || fail "$unit cannot be started" "" "$(recent)"
    settle
    ;;
release)
    say changed "$(if exists "$held"; then echo true; else echo false; fi)"
    let_go
    ;;
restart)
    ! exists "$held" || refuse "$unit is held down" "a service that is not held down" "$held" "use service.start"
    before=$(since)
    systemctl reset-failed "$unit" 2>/dev/null || :
    systemctl restart --no-block "$unit" || fail "$unit cannot be restarted" "" "$(recent)"
    # The unit may take its stop timeout (90 s by default) before it starts again.
    left=180
    while [ "$(since)" = "$before" ]; do
        case $(active) in failed) break ;; esac
        [ $((left -= 1)) -gt 0 ] || fail "$unit was told to restart and has not" "a later start within 180 s" "$(recent)"
        sleep 1
    done
    settle
    ;;
enable)
    # What is held down stays down; the start that ends the hold enables it.
    if exists "$held"; then hold "enabled=enabled"; else systemctl enable "$unit" || fail "$unit cannot be enabled" "enabled" "$(enabled)"; fi
    ;;
esac
[ "$verb" = status ] || say state "$(active)"
