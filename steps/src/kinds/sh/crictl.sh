# Speaks to the container runtime: needs `refuse` from the script that this is put before.

# Sets crictl to the program and its endpoint. crictl's own configuration counts; without one the kubelet's word does, then the
# first socket that is there, because crictl without an endpoint tries several, each until it times out.
find_crictl() {
    crictl=
    for candidate in crictl /usr/local/bin/crictl /usr/bin/crictl /opt/bin/crictl; do
        if command -v "$candidate" >/dev/null; then
            crictl=$candidate
            break
        fi
    done
    [ -n "$crictl" ] || refuse "this host has no crictl" "crictl, to see containers" "not in PATH" "install cri-tools, or give its directory in the site's env (PATH)"
    endpoint=
    [ -z "${CONTAINER_RUNTIME_ENDPOINT-}" ] && ! grep -qs '^ *runtime-endpoint: *[^ "]' /etc/crictl.yaml || return 0
    endpoint=$(sed -n 's/.*--container-runtime-endpoint=\([^ "]*\).*/\1/p' /var/lib/kubelet/kubeadm-flags.env 2>/dev/null)
    [ -n "$endpoint" ] || endpoint=$(sed -n 's/^containerRuntimeEndpoint: *"\{0,1\}\([^" ]*\).*/\1/p' /var/lib/kubelet/config.yaml 2>/dev/null)
    for socket in /run/containerd/containerd.sock /run/crio/crio.sock /run/cri-dockerd.sock; do
        [ -z "$endpoint" ] && [ -S "$socket" ] && endpoint=unix://$socket
    done
    return 0
}

# 20 s for a runtime that is busy: crictl's own 2 s are too few for a host that has just booted.
cri() { "$crictl" --timeout 20s ${endpoint:+--runtime-endpoint "$endpoint"} "$@"; }

# Prints the ids of containers, one a line. $1: the container's name, $2: the namespace of its pod, $3: the pod; what is empty
# is not compared. Then flags of `crictl ps`. Others whose names only contain this one, operators and guards, are not meant.
containers() {
    of_name=$1 of_namespace=$2 of_pod=$3
    shift 3
    cri ps --quiet "$@" ${of_name:+--label "io.kubernetes.container.name=$of_name"} \
        ${of_namespace:+--label "io.kubernetes.pod.namespace=$of_namespace"} ${of_pod:+--label "io.kubernetes.pod.name=$of_pod"}
}
running() { containers "$1" "$2" "$3" --state running; }

# Prints the namespace of the pod in a manifest, YAML or JSON; nothing where there is none.
namespace_of() { grep -o '"\{0,1\}namespace"\{0,1\}: *"\{0,1\}[a-z0-9-]*' "$1" 2>/dev/null | head -n 1 | sed 's/.*[" :]//'; }
