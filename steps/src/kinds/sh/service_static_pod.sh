# A static pod of the kubelet: it runs while its manifest is in the manifest directory. $1: status | inspect | start | stop |
# restart | enable | release, $2: the manifest, $3: the container's name, $4: the record of its being held down, $5: where the
# manifest is kept meanwhile: outside of its directory, because the kubelet loads every file there that is not hidden.
verb=$1 manifest=$2 container=$3 held=$4 aside=$5
# Pods of others may have a container of this name: the namespace tells them apart.
kept=$(held_field aside)
namespace=$(namespace_of "$manifest" || :)
[ -n "$namespace" ] || [ -z "$kept" ] || namespace=$(namespace_of "$kept")
ours() { running "$container" "$namespace" ''; }
# Waits so many seconds until there have been no containers of the pod for three looks, because a kubelet that was just booted may
# be about to start one; or (with ids) until others run. A runtime that does not answer yet may be booting too.
await() {
    left=$1 looks=0
    while :; do
        if now=$(ours); then
            case $2 in
            gone) if [ -n "$now" ]; then looks=0; else looks=$((looks + 1)); fi ;;
            other) [ -z "$now" ] || [ "$now" = "$3" ] || return 0 ;;
            esac
        fi
        [ "$looks" -lt 3 ] || return 0
        [ $((left -= 1)) -gt 0 ] || return 1
        sleep 1
    done
}
# As long as the kubelet gives a pod by default.
stop_ours() { for id in $(ours); do cri stop --timeout 30 "$id" >/dev/null || return 1; done; }
kubelet_runs() { pidof kubelet >/dev/null; }

case $verb in
status)
    find_crictl
    if exists "$manifest"; then say manifest there; else say manifest absent; fi
    ids=$(ours) || refuse "the container runtime does not answer" "crictl ps" "see the output" "is the runtime up, and is this root?"
    say containers "$(printf '%s\n' "$ids" | sort | tr '\n' ' ')"
    say held "$(held_word)"
    say kept "$kept"
    ;;
inspect)
    find_crictl
    exists "$manifest" || exit 0
    say manifest "$(base64 <"$manifest" | tr -d '\n')"
    # Some runtimes tell where symbolic links lead.
    sed -n 's/^ *path: *"\{0,1\}\(\/[^"]*\)"\{0,1\}$/\1/p' "$manifest" | while IFS= read -r path; do
        say real "$path$tab$(readlink -f "$path")"
    done
    ids=$(ours) || refuse "the container runtime does not answer" "crictl ps" "see the output" "is the runtime up, and is this root?"
    for id in $ids; do
        shown=$(cri inspect --output json "$id") || fail "a container cannot be looked at" "crictl inspect $id" "see the output of this attempt"
        say container "$(printf %s "$shown" | tr -d '\n')"
    done
    ;;
stop)
    find_crictl
    if exists "$manifest"; then
        say changed true
        ! exists "$aside" || refuse "the name for the manifest is taken" "$aside does not exist" "$(ls -ld "$aside")" "a name is never reused: look whose it is"
        [ "$(volume_of "$(dirname "$aside")")" = "$(volume_of "$(dirname "$manifest")")" ] || refuse "$(dirname "$aside") is on another file system than $manifest" "the same one, for a rename"
        hold "aside=$aside"
        move "$manifest" "$aside"
        kept=$aside
    elif ! exists "$held"; then
        # Somebody else moved it: it is down, and stays down, but there is nothing for a start to put back.
        say changed false
        hold 'aside='
    fi
    # Where no kubelet runs nobody else stops it; and without the manifest no kubelet starts it again.
    kubelet_runs || stop_ours || fail "the manifest is gone and no kubelet runs, but the container $container cannot be stopped" "crictl stop" "see the output of this attempt"
    # It gives them 30 s. One that was just booted ends no pod before it has reached an API server, which may need this one.
    await 45 gone || { stop_ours && await 30 gone; } ||
        fail "the manifest is gone, but the container $container still runs" "no such container within 75 s" "$(ours)" "look at the kubelet (journalctl -u kubelet) and at crictl ps"
    say kept "$kept"
    say state inactive
    ;;
start)
    find_crictl
    if exists "$manifest"; then
        say changed false
    else
        [ -n "$kept" ] && exists "$kept" || refuse "there is no manifest to put back" "$manifest, or one that service.stop set aside" "neither" "put it back with file.restore_aside or kubeadm init phase"
        move "$kept" "$manifest"
    fi
    release
    # A kubelet whose host lost its power needs more than a minute before it starts anything; one that is down starts the pod
    # when it is started itself.
    if kubelet_runs; then
        await 240 other '' || fail "the manifest is in its place, but no container $container runs" "one within 240 s" "none" "journalctl -u kubelet; crictl ps -a"
        say state active
    else
        say state starting
    fi
    ;;
release)
    [ -z "$kept" ] || ! exists "$kept" || refuse "the manifest is kept at $kept" "none is kept" "" "use service.start, which puts it back"
    release
    say state "$(if exists "$manifest"; then echo active; else echo inactive; fi)"
    ;;
restart)
    find_crictl
    exists "$manifest" || refuse "the manifest is not there" "$manifest" "absent" "use service.start"
    before=$(ours) || fail "the container runtime does not answer" "crictl ps" "see the output of this attempt"
    # The kubelet starts a new container for the one that ends; after five minutes at most, if they have ended often.
    stop_ours || fail "the container cannot be stopped" "crictl stop" "see the output of this attempt"
    await 330 other "$before" || fail "the container $container was stopped and no other runs" "a new one within 330 s" "$(ours)" "is the kubelet up?"
    say state active
    ;;
enable) say state "$(if exists "$manifest"; then echo active; else echo inactive; fi)" ;;
esac
