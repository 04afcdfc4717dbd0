# Says what became of a restore. $1: the data directory, $2: the token, $3: the directory of the cluster's capsules.
token=$2 capsules=$3
data=$(real "$1") || data=$1
state=absent
for target in "$data" "$data/member"; do
    id=$(identity "$target") || continue
    [ -z "$(contents "$data")" ] || state=other
    for record in "$capsules"/*/*/etcd-restore; do
        if [ -f "$record" ] && grep -qxF "token=$token" "$record" && grep -qxF "id=$id" "$record"; then
            say state restored
            grep -v -e '^token=' -e '^id=' "$record"
            exit 0
        fi
    done
done
say state "$state"
say data_dir "$data"
say holds "$(contents "$data" | head -n 5 | tr '\n' ' ')"
