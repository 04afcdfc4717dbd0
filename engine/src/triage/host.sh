# Looks at one host for `requorum triage`, changes nothing, and prints KEY=VALUE lines. What cannot be seen, for want of a
# tool or of rights, is left out.
# $1: etcd's data directory, or nothing; $2: its configuration file, or nothing; $3: yes on a control plane;
# then for each service four words: its name, systemd | static-pod | command, and the unit | manifest and container | status command.
PATH=$PATH:/usr/local/bin:/usr/sbin:/sbin:/opt/bin
data=$1 conf=$2 control_plane=$3
shift 3
# What a look may not take longer than: a runtime that hangs must not hide the rest.
bounded() { if command -v timeout >/dev/null 2>&1; then timeout 2 "$@"; else "$@"; fi; }
have() { command -v "$1" >/dev/null 2>&1; }
say() { printf '%s=%s\n' "$1" "$2"; }
tab=$(printf '\t')

say uid "$(id -u)"
[ ! -r /proc/uptime ] || say up "$(cut -d. -f1 /proc/uptime)"

# The nearest directory above a path that is there.
above() {
    at=$1
    while [ ! -d "$at" ] && [ "$at" != / ]; do at=$(dirname "$at"); done
    printf %s "$at"
}

# ---- Services -----------------------------------------------------------------------------------------------------------

# The lines of a log that say why something ended. What systemd itself says of every unit that ended comes after them and would
# hide them: it is told where there is nothing else.
telling() {
    kept=$(cut -c1-300 | grep -v -e '^goroutine ' -e '^	' -e '^$' | tail -n 60)
    own=$(printf '%s\n' "$kept" | grep -vE 'Failed to kill control group|Failed with result|Failed to start |process exited|Scheduled restart')
    why=$(printf '%s\n' "$own" | grep -iE 'panic|fatal|"level":"error"| E \||crc|corrupt|mismatch|bootstrapped|permanently removed|no space|expired|fail' | tail -n 4)
    [ -n "$why" ] || why=$(printf '%s\n' "${own:-$kept}" | tail -n 2)
    printf '%s\n' "$why" | sed "s/^/log=$1$tab/"
}

systemd() {
    shown=$(bounded systemctl show -p LoadState -p ActiveState -p SubState -p NRestarts -p Result -p EnvironmentFiles -p Environment -p ExecStart "$2" 2>/dev/null) || shown=
    field() { printf '%s\n' "$shown" | sed -n "s/^$1=//p" | head -n 1; }
    state=unknown
    case $(field LoadState)/$(field ActiveState)/$(field SubState) in
    not-found/*) state=absent ;;
    */active/* | */reloading/*) state=running ;;
    */activating/auto-restart*) state=looping ;;
    */activating/* | */deactivating/*) state=changing ;;
    */failed/*) state=failed ;;
    */inactive/*) state=down ;;
    esac
    say service "$1$tab$state$tab$(field NRestarts)$tab$2 is $(field ActiveState) ($(field SubState)), result $(field Result)"
    [ "$1" != etcd ] || unit=$shown
    [ "$1" != etcd ] || files=$(printf '%s\n' "$shown" | sed -n 's/^EnvironmentFiles=\([^ ]*\).*/\1/p')
    case $state in
    looping | failed | changing) bounded journalctl -u "$2" -n 200 --no-pager -o cat 2>/dev/null | telling "$1" ;;
    esac
}

# All containers of kube-system: ID, STATE, NAME and ATTEMPT, the newest first. Between them are words in any number.
containers() {
    [ -z "${listed+x}" ] || return 0
    listed=
    have crictl || return 0
    listed=$(bounded crictl ps -a --label io.kubernetes.pod.namespace=kube-system 2>/dev/null) || { listed= runtime=silent; return 0; }
    runtime=answers
    listed=$(printf '%s\n' "$listed" | awk '{ for (i = 2; i < NF; i++) if ($i ~ /^(Running|Exited|Created|Unknown)$/) { print $1, $i, $(i + 1), $(i + 2); break } }')
}

static_pod() {
    containers
    there=unknown
    if [ -e "$2" ]; then there=there; elif [ -x "$(above "$2")" ]; then there=absent; fi
    mine=$(printf '%s\n' "$listed" | awk -v name="$3" '$3 == name')
    newest=$(printf '%s\n' "$mine" | head -n 1)
    ran=$(printf '%s' "$newest" | cut -d' ' -f2)
    restarts=$(printf '%s' "$newest" | cut -d' ' -f4)
    case ${runtime:-none}/$there/$ran in
    answers/*/Running) state=running ;;
    answers/there/Exited) state=looping ;;
    answers/there/*) state=changing ;;
    answers/absent/* | */absent/*) state=down ;;
    *) state=unknown ;;
    esac
    say service "$1$tab$state$tab$restarts${tab}manifest $2 $there, container ${ran:-none}, runtime ${runtime:-not asked: no crictl}"
    # One that runs at the moment may have ended often before.
    if [ "$state" = looping ] || [ "${restarts:-0}" -ge 3 ]; then
        ended=$(printf '%s\n' "$mine" | awk '$2 == "Exited" { print $1; exit }')
        [ -z "$ended" ] || bounded crictl logs --tail 200 "$ended" 2>&1 | telling "$1"
    fi
}

by_command() {
    said=$(bounded sh -c "$2" 2>&1)
    code=$?
    case $code in
    0) state=running ;;
    3) state=down ;;
    *) state=unknown ;;
    esac
    say service "$1$tab$state$tab${tab}its status command ended with $code $(printf '%s' "$said" | tail -n 1)"
}

files= manifest= unit=
while [ $# -ge 4 ]; do
    case $2 in
    systemd) systemd "$1" "$3" ;;
    static-pod)
        [ "$1" != etcd ] || manifest=$3
        static_pod "$1" "$3" "$4"
        ;;
    command) by_command "$1" "$3" ;;
    esac
    shift 4
done
if have systemctl; then
    kubelet=$(bounded systemctl show -p LoadState -p ActiveState kubelet.service 2>/dev/null)
    case $kubelet in
    *LoadState=loaded*) say kubelet "$(printf '%s\n' "$kubelet" | sed -n 's/^ActiveState=//p')" ;;
    esac
fi

# ---- The data directory -------------------------------------------------------------------------------------------------

# etcd's own settings.
settings() { for file in "$conf" $files; do [ ! -r "$file" ] || cat "$file"; done 2>/dev/null; }
# Whether etcd's log may be in a directory of its own.
wal_elsewhere() {
    { settings; [ -z "$manifest" ] || cat "$manifest"; printf '%s\n' "$unit"; } 2>/dev/null | grep -v '^[[:space:]]*#' | grep -qi 'wal[-_]dir'
}
# A database without a log is what an etcd leaves that the cluster did not let join: that is no data.
data_state() {
    if [ ! -d "$data" ]; then
        # A directory that cannot be searched hides what is below it.
        if [ -x "$(above "$data")" ]; then echo absent; else echo unknown; fi
    elif ! ls -A "$data" >/dev/null 2>&1; then
        echo unknown
    elif [ -d "$data/member" ] && ! ls "$data/member/wal" >/dev/null 2>&1 && [ -d "$data/member/wal" ]; then
        echo unknown
    elif [ -n "$(find "$data/member" -type f ! -path "$data/member/snap/db*" 2>/dev/null | head -n 1)" ]; then
        echo there
    elif [ -n "$(find "$data/member" -type f 2>/dev/null | head -n 1)" ] && wal_elsewhere; then
        echo there
    else
        echo empty
    fi
}
if [ -n "$data" ]; then
    say data "$(data_state)"
    say disk "$(bounded df -Pk "$(above "$data")" 2>/dev/null | awk 'NR == 2 { print $2 "\t" $4 }')"
fi

# ---- Certificates and quota ---------------------------------------------------------------------------------------------

# Only what is between these lines is ever printed: some files hold a private key as well.
pem() { sed -n '/-----BEGIN CERTIFICATE/,/-----END CERTIFICATE/s/^/pem=/p'; }
certificate() {
    [ -r "$1" ] && [ -f "$1" ] || return 0
    say cert "$1"
    pem <"$1"
}
named=$(settings | sed -n -e 's/^[[:space:]]*ETCD_[A-Z_]*CERT_FILE="\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' -e 's/^[[:space:]]*ETCD_[A-Z_]*CA_FILE="\{0,1\}\([^"]*\)"\{0,1\}$/\1/p')
[ -z "$data" ] && named=
printf '%s\n' "$named" /etc/kubernetes/pki/*.crt /etc/kubernetes/pki/etcd/*.crt /etc/kubernetes/ssl/*.pem \
    /var/lib/kubelet/pki/kubelet-client-current.pem | sort -u | while IFS= read -r file; do certificate "$file"; done
for file in /etc/kubernetes/admin.conf /etc/kubernetes/controller-manager.conf /etc/kubernetes/scheduler.conf; do
    [ -r "$file" ] && have base64 || continue
    say cert "$file"
    sed -n 's/^ *client-certificate-data: *//p' "$file" | base64 -d 2>/dev/null | pem
done
quota=$({ settings; [ -z "$manifest" ] || cat "$manifest"; } 2>/dev/null | sed -n -e 's/^ETCD_QUOTA_BACKEND_BYTES="\{0,1\}\([0-9]*\).*/\1/p' -e 's/.*--quota-backend-bytes=\([0-9]*\).*/\1/p' | tail -n 1)
[ -z "$quota" ] || say quota "$quota"

# ---- Kubernetes ---------------------------------------------------------------------------------------------------------

if [ "$control_plane" = yes ] && have curl && [ -d /etc/kubernetes ]; then
    port=$(sed -n 's/.*--secure-port=\([0-9]*\).*/\1/p' /etc/kubernetes/manifests/kube-apiserver.yaml 2>/dev/null)
    answer=$(curl -ksS --max-time 2 "https://127.0.0.1:${port:-6443}/readyz" 2>&1 | tail -n 1 | cut -c1-200)
    say api "$answer"
    if [ "$answer" = ok ] && have kubectl && [ -r /etc/kubernetes/admin.conf ]; then
        bounded kubectl --kubeconfig /etc/kubernetes/admin.conf get nodes --no-headers 2>/dev/null | awk '{ print "node=" $1 "\t" $2 }'
    fi
fi
exit 0
