//! A secret that a host puts out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::{Laptop, Testbed, etcd, files_with};

const PASSWORD: &str = "hunter2\"Zq9x\\sAmple";

#[test]
fn a_secret_that_a_host_puts_out_comes_back_to_it_and_is_kept_nowhere_on_the_laptop() {
    let (bed, laptop) = (Testbed::up(&etcd(), &["--members", "1"]), Laptop::new());
    let out = tempfile::tempdir().unwrap();
    let plan = r#"requorum: 1
name: leaks
inputs: { password: { type: secret } }
steps:
  - id: raw
    on: [cp1]
    ssh.run:
      run: "tee OUT/kept; tr '\\0' '\\n' </proc/$$/cmdline >OUT/argv; cat /proc/$PPID/cmdline >>OUT/argv; sleep 0.2"
      stdin: "{{ inputs.password }}"
  - id: encoded
    on: [cp1]
    ssh.run: { run: "{ printf user:; cat; } | base64 -w0 >&2; exit 3", stdin: "{{ inputs.password }}" }
  - id: checked
    needs: [raw]
    on: [cp1]
    ssh.run: { run: "true" }
    verify:
      - ssh.check: { run: "cat OUT/kept; exit 1" }
  - id: written
    needs: [raw]
    on: [cp1]
    file.write: { path: "OUT/written", content: "[{{ steps.raw.result[0].stdout }}]" }
"#;
    let plan = laptop.write("plan.yaml", &plan.replace("OUT", out.path().to_str().unwrap()));
    let file = out.path().join("password");
    std::fs::write(&file, PASSWORD).unwrap();
    let input = format!("password={}", file.display());
    let site = bed.site();
    let outcome = laptop.expect(5, &["run", &plan, "-i", &site, "--yes", "--set-file", &input]);
    outcome.says("‹secret inputs.password›");
    outcome.says("‹a form of secret inputs.password›");

    let read = |name: &str| std::fs::read_to_string(out.path().join(name)).unwrap();
    assert_eq!(read("written"), format!("[{PASSWORD}]"));
    assert!(read("argv").contains("sleep") && !read("argv").contains(PASSWORD));
    // `user:` is five bytes: of the fourth group two more characters hold only the secret.
    let encoded = STANDARD.encode(format!("user:{PASSWORD}"));
    for form in [PASSWORD, r#"hunter2\"Zq9x\\sAmple"#, &encoded[7..encoded.len() - 4]] {
        assert_eq!(files_with(&laptop.path(""), form), Vec::<std::path::PathBuf>::new(), "{form}");
    }
}
