//! `http.get` against a real server on loopback; with TLS and a client certificate it is asked of etcd in `tests/crash`.
#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use requorum_steps::world::Settings;
use requorum_steps::{Fault, FaultKind, Make, Observation, Site, World, catalog};
use serde_json::{Value, json};

/// Answers so many requests, each with these bytes, and returns what was asked.
fn serve(answers: Vec<Vec<u8>>) -> (u16, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = thread::spawn(move || {
        let one = |answer: Vec<u8>| {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut asked, mut buffer) = (Vec::new(), [0; 1024]);
            while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
                let read = stream.read(&mut buffer).unwrap();
                asked.extend_from_slice(&buffer[..read]);
                // Who speaks TLS begins with a handshake, and waits.
                if read == 0 || asked[0] == 0x16 {
                    break;
                }
            }
            // Whoever has heard enough hangs up.
            let _ = stream.write_all(&answer);
            String::from_utf8_lossy(&asked).into_owned()
        };
        answers.into_iter().map(one).collect()
    });
    (port, served)
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into_bytes()
}

async fn get(args: Value) -> Result<Observation, Fault> {
    let site: Site = serde_json::from_value(
        json!({ "cluster": "test", "platform": "any", "capsule_root": "/nonexistent", "hosts": {} }),
    )
    .unwrap();
    let world = World::new(
        Arc::new(site),
        Settings {
            local_capsules: "/nonexistent".into(),
            supervisor: "/nonexistent".into(),
            kubeconfig: Vec::new(),
            call_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(2),
        },
    );
    let Make::Check(make) = catalog::find("http.get").unwrap().make else { panic!("it is no check") };
    make(args).unwrap().observe(&world.reader(None)).await
}

#[tokio::test]
async fn a_server_is_asked_for_the_very_path_and_its_answer_is_judged() {
    let large = "x".repeat(2 << 20);
    let (port, served) = serve(vec![
        answer("200 OK", "{\"health\":\"true\"}"),
        answer("503 Service Unavailable", "[-]etcd failed"),
        answer("301 Moved Permanently", ""),
        answer("200 OK", &large),
    ]);
    let url = format!("http://127.0.0.1:{port}/health?serializable=true");
    let seen = get(json!({ "url": url, "contains": "\"true\"" })).await.unwrap();
    assert!(seen.holds, "{seen:?}");
    let seen = get(json!({ "url": url })).await.unwrap();
    assert!(!seen.holds && seen.seen.ends_with("answered status 503: [-]etcd failed"), "{seen:?}");
    let seen = get(json!({ "url": url, "status": 301 })).await.unwrap();
    assert!(seen.holds, "a redirect is an answer: {seen:?}");
    let seen = get(json!({ "url": url, "contains": "x" })).await.unwrap();
    assert!(!seen.holds && seen.seen.ends_with("a body of more than 1 MiB"), "{seen:?}");
    let asked = served.join().unwrap();
    assert!(asked[0].starts_with("GET /health?serializable=true HTTP/1.1\r\n"), "{}", asked[0]);
    assert!(asked[0].contains(&format!("host: 127.0.0.1:{port}\r\n")), "{}", asked[0]);
}

#[tokio::test]
async fn a_server_that_cannot_be_asked_is_a_fault() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let fault = get(json!({ "url": format!("http://127.0.0.1:{free}/") })).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unreachable);
    assert!(fault.what.contains("nothing listens there"), "{fault:?}");

    let (port, served) = serve(vec![answer("400 Bad Request", "")]);
    let fault = get(json!({ "url": format!("https://127.0.0.1:{port}/") })).await.unwrap_err();
    assert!(fault.what.contains("does not speak TLS"), "{fault:?}");
    drop(served);

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let fault = get(json!({ "url": url })).await.unwrap_err();
    assert!(fault.what.contains("did not answer within 2 s"), "{fault:?}");
}
