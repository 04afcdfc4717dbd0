"""The site file of the lab, for requorum."""

import textwrap


def text(lab):
    """Returns the site file: hosts over SSH as root, etcd over its client port, the API over the balanced address."""
    minor = lab.record["etcd"]
    head = textwrap.dedent(f"""\
        requorum: 1
        cluster: lab
        platform: {lab.profile.PLATFORM}
        ssh:
          user: root
          key: {lab.directory}/id
          known_hosts: {lab.directory}/known_hosts
        etcd:
          version: "{minor}"
          via: direct
          tls: {lab.profile.etcd_tls()}
        hosts:
        """)
    hosts = "".join(
        f"  {host.name}:\n"
        f"    address: {host.address}\n"
        f"    roles: [control-plane, etcd]\n"
        f"    etcd: {{ name: {host.name}, client_urls: [https://{host.address}:2379], "
        f"peer_urls: [https://{host.address}:2380], data_dir: /var/lib/etcd, service: etcd }}\n"
        for host in lab.hosts.values()
    )
    return head + hosts
