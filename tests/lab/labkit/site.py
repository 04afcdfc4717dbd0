"""The site file of the lab, for requorum."""

import textwrap


def text(lab):
    """Returns the site file: hosts over SSH as root, etcd over its client port, the API over the balanced address."""
    minor, profile, first = lab.record["etcd"], lab.profile, next(iter(lab.hosts))
    # A platform whose services are known needs none in its site.
    services = f"services: {profile.services}" if profile.services else ""
    tls = ", ".join(f'{name}: "{first}:{path}"' for name, path in profile.etcd_tls.items())
    head = textwrap.dedent(f"""\
        requorum: 1
        cluster: lab
        platform: {profile.platform}
        ssh:
          user: root
          key: {lab.directory}/id
          known_hosts: {lab.directory}/known_hosts
        etcd:
          version: "{minor}"
          via: direct
          tls: {{ {tls} }}
        kube: {{ kubeconfig: {lab.directory}/admin.conf }}
        {services}
        hosts:
        """)
    hosts = "".join(
        f"  {host.name}:\n"
        f"    address: {host.address}\n"
        f"    roles: [control-plane, etcd]\n"
        f"    etcd: {{ name: {profile.member_name(host)}, client_urls: [https://{host.address}:2379], "
        f"peer_urls: [https://{host.address}:2380], data_dir: {profile.data_dir}, service: etcd }}\n"
        for host in lab.hosts.values()
    )
    return head + hosts
