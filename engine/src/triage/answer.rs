//! What `host.sh` printed, read into a [`HostLook`].

use requorum_steps::HostName;
use requorum_steps::certificate::Certificate;

use super::observation::{Data, Disk, HostLook, NodeSeen, PlacedCertificate, Running, ServiceSeen};

/// Reads the lines. What does not read is left out: it was not seen. A certificate that cannot be read is none of those whose
/// end one could tell.
pub(super) fn read(host: &HostName, text: &str) -> HostLook {
    let mut look = HostLook::default();
    let mut pems: Vec<(String, String)> = Vec::new();
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        match key {
            "uid" => look.root = value == "0",
            "up" => look.up_s = value.parse().ok(),
            "data" => look.data = Some(data(value)),
            "disk" => look.disk = disk(value),
            "quota" => look.quota = value.parse().ok(),
            "service" => service(&mut look, value),
            "log" => log(&mut look, value),
            "kubelet" => look.kubelet = Some(value.to_owned()),
            "api" => look.api = Some(value.to_owned()),
            "node" => look.nodes.extend(node(value)),
            "cert" => pems.push((format!("{host}:{value}"), String::new())),
            "pem" => pems.last_mut().into_iter().for_each(|(_, pem)| {
                pem.push_str(value);
                pem.push('\n');
            }),
            _ => {}
        }
    }
    look.certificates = pems
        .into_iter()
        .flat_map(|(place, pem)| {
            let found = Certificate::of_pem(&place, pem.as_bytes()).unwrap_or_default();
            found.into_iter().map(move |certificate| PlacedCertificate { place: place.clone(), certificate })
        })
        .collect();
    look
}

fn data(word: &str) -> Data {
    match word {
        "there" => Data::There,
        "empty" => Data::Empty,
        "absent" => Data::Absent,
        _ => Data::Unknown,
    }
}

fn disk(value: &str) -> Option<Disk> {
    let (size, free) = value.split_once('\t')?;
    Some(Disk { size_kib: size.parse().ok()?, free_kib: free.parse().ok()? })
}

fn service(look: &mut HostLook, value: &str) {
    let mut parts = value.splitn(4, '\t');
    let mut next = || parts.next().unwrap_or_default();
    let (name, state, restarts, detail) = (next(), next(), next(), next());
    let state = match state {
        "running" => Running::Running,
        "changing" => Running::Changing,
        "looping" => Running::Looping,
        "failed" => Running::Failed,
        "down" => Running::Down,
        "absent" => Running::Absent,
        _ => Running::Unknown,
    };
    let detail = detail.trim().to_owned();
    let seen = ServiceSeen { state, restarts: restarts.parse().unwrap_or(0), detail, log: Vec::new() };
    look.services.insert(name.to_owned(), seen);
}

fn log(look: &mut HostLook, value: &str) {
    if let Some((name, line)) = value.split_once('\t')
        && let Some(service) = look.services.get_mut(name)
        && !line.trim().is_empty()
    {
        service.log.push(line.trim().to_owned());
    }
}

fn node(value: &str) -> Option<NodeSeen> {
    let (name, status) = value.split_once('\t')?;
    Some(NodeSeen { name: name.to_owned(), status: status.to_owned() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_a_host_says_is_read_and_what_it_does_not_say_is_unknown() {
        let text = "uid=0\nup=77\ndata=empty\ndisk=100\t7\nnoise\n\
                    service=etcd\tlooping\t12\tetcd.service is activating\nlog=etcd\tpanic: crc mismatch=1\nlog=other\tx\n\
                    node=cp1\tReady\ncert=/etc/x.crt\npem=no certificate\nstrange=1\n";
        let look = read(&HostName::new("cp1").unwrap(), text);
        let etcd = &look.services["etcd"];
        assert_eq!((etcd.state, etcd.restarts), (Running::Looping, 12));
        assert_eq!(etcd.log, ["panic: crc mismatch=1"]);
        assert_eq!((look.data, look.root, look.up_s), (Some(Data::Empty), true, Some(77)));
        assert_eq!(look.disk, Some(Disk { size_kib: 100, free_kib: 7 }));
        assert_eq!((look.nodes[0].status.as_str(), look.kubelet, look.api), ("Ready", None, None));
        assert!(look.certificates.is_empty());
    }
}
