# Containers by the labels that the kubelet gives them. $1: list | stop | remove, $2: name, $3: namespace, $4: pod, $5: `all`
# if those that have ended are listed too.
find_crictl
case "$1 $5" in
'list ') ids=$(running "$2" "$3" "$4") ;;
'list all' | 'remove '*) ids=$(containers "$2" "$3" "$4" --all) ;;
'stop '*) ids=$(running "$2" "$3" "$4") ;;
esac || refuse "the container runtime does not answer" "crictl ps" "see the output" "is the runtime up, and is this root?"
case $1 in
stop) for id in $ids; do cri stop --timeout 30 "$id" >/dev/null || fail "a container cannot be stopped" "crictl stop $id" "see the output of this attempt"; done ;;
remove)
    alive=$(running "$2" "$3" "$4")
    [ -z "$alive" ] || refuse "a container still runs" "none" "$alive" "stop it first"
    for id in $ids; do cri rm "$id" >/dev/null || fail "a container cannot be removed" "crictl rm $id" "see the output of this attempt"; done
    ;;
esac
say containers "$(printf '%s\n' "$ids" | sort | tr '\n' ' ')"
