# A static pod of the kubelet: it runs while its manifest is in the manifest directory. $1: status | start | stop |
# restart | enable | release, $2: the manifest, $3: the container's name, $4: the record of its being held down, $5: where the
# manifest is kept meanwhile: outside of its directory, because the kubelet loads every file there that is not hidden.
verb=$1 manifest=$2 container=$3 held=$4 aside=$5
running() { crictl ps --quiet --state running --label "io.kubernetes.container.name=$container"; }
# Waits until the containers of the pod are gone, or (with an argument) until others run.
await() {
    left=120
    while :; do
        now=$(running) || fail "the container runtime does not answer" "crictl ps" "see the output of this attempt"
        case $1 in
        gone) [ -n "$now" ] || return 0 ;;
        other) [ -z "$now" ] || [ "$now" = "$2" ] || return 0 ;;
        esac
        [ $((left -= 1)) -gt 0 ] || return 1
        sleep 1
    done
}
need_crictl() { command -v crictl >/dev/null || refuse "this host has no crictl" "crictl, to see containers" "not in PATH" "install cri-tools, or give its directory in the site's env (PATH)"; }

case $verb in
status)
    if exists "$manifest"; then say manifest there; else say manifest absent; fi
    need_crictl
    ids=$(running) || refuse "the container runtime does not answer" "crictl ps" "see the output" "is the runtime up, and is this root?"
    say containers "$(printf %s "$ids" | tr '\n' ' ')"
    say held "$(held_word)"
    ;;
stop)
    need_crictl
    if exists "$manifest"; then
        say changed true
        ! exists "$aside" || refuse "the name for the manifest is taken" "$aside does not exist" "$(ls -ld "$aside")" "a name is never reused: look whose it is"
        [ "$(volume_of "$(dirname "$aside")")" = "$(volume_of "$(dirname "$manifest")")" ] || refuse "$(dirname "$aside") is on another file system than $manifest" "the same one, for a rename"
        hold "aside=$aside"
        move "$manifest" "$aside"
    elif ! exists "$held"; then
        # Somebody else moved it: it is down, and stays down, but there is nothing for a start to put back.
        say changed false
        hold 'aside='
    fi
    await gone || fail "the manifest is gone, but the container $container still runs" "no such container within 120 s" "$(running)" "is the kubelet up? It must run to stop a static pod"
    say state inactive
    ;;
start)
    kept=$(held_field aside)
    if exists "$manifest"; then
        say changed false
    else
        [ -n "$kept" ] && exists "$kept" || refuse "there is no manifest to put back" "$manifest, or one that service.stop set aside" "neither" "put it back with file.restore_aside or kubeadm init phase"
        move "$kept" "$manifest"
    fi
    release
    say state starting
    ;;
release)
    kept=$(held_field aside)
    [ -z "$kept" ] || ! exists "$kept" || refuse "the manifest is kept at $kept" "none is kept" "" "use service.start, which puts it back"
    release
    say state "$(if exists "$manifest"; then echo active; else echo inactive; fi)"
    ;;
restart)
    need_crictl
    exists "$manifest" || refuse "the manifest is not there" "$manifest" "absent" "use service.start"
    before=$(running) || fail "the container runtime does not answer" "crictl ps" "see the output of this attempt"
    # The kubelet starts a new container for the one that ends.
    for id in $before; do crictl stop "$id" >/dev/null || fail "the container cannot be stopped" "crictl stop $id" "see the output of this attempt"; done
    await other "$before" || fail "the container $container was stopped and no other runs" "a new one within 120 s" "$(running)" "is the kubelet up?"
    say state active
    ;;
enable) say state "$(if exists "$manifest"; then echo active; else echo inactive; fi)" ;;
esac
