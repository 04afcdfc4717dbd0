# The files that a testbed is described by: its etcd and sshd configurations, the ssh client's, the site. Sourced by
# `testbed`, whose variables (dir, members, cluster, etcd_dir, …) and `port` and `url` they use.
# shellcheck shell=bash disable=SC2154

write_env() {
    {
        printf 'members=(%s)\n' "${members[*]}"
        printf '%s=%q\n' cluster "$cluster" etcd_dir "$etcd_dir" via "$via" client "$client" base_port "$base_port"
    } >"$dir/testbed.env"
}

# Writes how a member is started. A plan may rewrite the file, as one would /etc/etcd/etcd.conf.
write_etcd_conf() {
    local name=$1 certs=$dir/certs all=() m
    for m in "${members[@]}"; do
        all+=("$m=$(url "$m" peer)")
    done
    cat >"$dir/$name/etcd.conf" <<CONF
ETCD_NAME=$name
ETCD_DATA_DIR=$dir/$name/etcd
ETCD_LISTEN_CLIENT_URLS=$(url "$name" client)
ETCD_ADVERTISE_CLIENT_URLS=$(url "$name" client)
ETCD_LISTEN_PEER_URLS=$(url "$name" peer)
ETCD_INITIAL_ADVERTISE_PEER_URLS=$(url "$name" peer)
ETCD_INITIAL_CLUSTER=$(IFS=,; echo "${all[*]}")
ETCD_INITIAL_CLUSTER_STATE=new
ETCD_INITIAL_CLUSTER_TOKEN=$cluster
ETCD_CERT_FILE=$certs/$name.crt
ETCD_KEY_FILE=$certs/$name.key
ETCD_TRUSTED_CA_FILE=$certs/ca.crt
ETCD_CLIENT_CERT_AUTH=true
ETCD_PEER_CERT_FILE=$certs/$name.crt
ETCD_PEER_KEY_FILE=$certs/$name.key
ETCD_PEER_TRUSTED_CA_FILE=$certs/ca.crt
ETCD_PEER_CLIENT_CERT_AUTH=true
CONF
}

write_sshd_config() {
    local name=$1 config=$dir/$1/sshd_config pam=no
    # sshd refuses an account whose password is locked with "!", even by key, unless it leaves that to PAM.
    if ((EUID == 0)) && [[ $(getent shadow root | cut -d: -f2) == '!'* ]]; then
        pam=yes
    fi
    # A home of its own: the start-up files of the user's shell are none of the testbed's, and may take seconds.
    cat >"$config" <<CONF
SetEnv HOME=$dir/$1
ListenAddress 127.0.0.1
Port $(port "$name" ssh)
HostKey $dir/$name/ssh_host_key
PidFile none
AuthorizedKeysFile $dir/keys/user.pub
StrictModes no
UsePAM $pam
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitUserRC no
PrintMotd no
UseDNS no
MaxStartups 100:30:200
Subsystem sftp internal-sftp
CONF
    # OpenSSH 9.8 and later lock out an address whose connections die early, which is what tests do to them.
    if sshd -t -f "$config" -o PerSourcePenalties=no 2>/dev/null; then
        echo "PerSourcePenalties no" >>"$config"
    fi
}

write_ssh_client() {
    local name
    for name in "${members[@]}"; do
        printf '[127.0.0.1]:%s %s\n' "$(port "$name" ssh)" "$(<"$dir/$name/ssh_host_key.pub")"
    done >"$dir/known_hosts"
    {
        for name in "${members[@]}"; do
            printf 'Host %s\n    HostName 127.0.0.1\n    Port %s\n' "$name" "$(port "$name" ssh)"
        done
        cat <<CONF
Host *
    User $(id -un)
    IdentityFile $dir/keys/user
    IdentitiesOnly yes
    UserKnownHostsFile $dir/known_hosts
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    BatchMode yes
    ConnectTimeout 5
CONF
    } >"$dir/ssh_config"
}

# Prints a text as a single-quoted YAML scalar.
yaml() { printf "'%s'" "${1//\'/\'\'}"; }

# usage: service_command COMMAND NAME; the line that a host's shell runs
service_command() { yaml "$(printf '%q %s %q %s' "$script" "$1" "$dir" "$2")"; }

write_site() {
    local name version
    version=$("$etcd_dir/etcd" --version | sed -n 's/^etcd Version: \([0-9]*\.[0-9]*\).*/\1/p')
    {
        cat <<YAML
# Written by tests/testbed/testbed: a loopback cluster of $version, made to be broken.
requorum: 1
cluster: $(yaml "$cluster")
platform: systemd-etcd
identity:
  etcd_ca_sha256: "$(openssl x509 -in "$dir/certs/ca.crt" -outform DER | sha256sum | cut -d' ' -f1)"
ssh:
  user: $(yaml "$(id -un)")
  key: $dir/keys/user
  known_hosts: $dir/known_hosts
  config: $dir/ssh_config
capsule_root: $dir/capsules
hosts:
YAML
        for name in "${members[@]}"; do
            cat <<YAML
  $name:
    address: 127.0.0.1
    roles: [etcd]
    ssh: { port: $(port "$name" ssh) }
    capsule_root: $dir/$name/requorum
    etcd:
      name: $name
      client_urls: ["$(url "$name" client)"]
      peer_urls: ["$(url "$name" peer)"]
      data_dir: $dir/$name/etcd
      service: etcd-$name
      bin_dir: $(yaml "$etcd_dir")
    vars: { etcd_conf: $dir/$name/etcd.conf }
YAML
        done
        echo "services:"
        for name in "${members[@]}"; do
            cat <<YAML
  etcd-$name:
    manager: command
    start: $(service_command member-start "$name")
    stop: $(service_command member-stop "$name")
    status: $(service_command member-status "$name")
YAML
        done
        cat <<YAML
etcd:
  version: "$version"
  via: $via
  tls: { ca: $dir/certs/ca.crt, cert: $dir/certs/$client.crt, key: $dir/certs/$client.key }
YAML
    } >"$dir/site.yaml"
}
