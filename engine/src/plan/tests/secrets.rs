//! A secret is never shown, changed, or known here.

use super::Try;
use crate::plan::compiled::SecretOrigin;

const HEAD: &str = "requorum: 1\nname: t\ninputs: { pw: { type: secret } }\nvars: { creds: { user: op, pw: '{{ inputs.pw }}' } }\nsteps:\n";

fn with(step: &str) -> Try {
    Try::plan(&format!("{HEAD}  - id: a\n    on: [cp1]\n    {step}\n")).set_file("pw", "/secret/pw")
}

#[test]
fn a_secret_goes_where_it_is_kept() {
    for argument in
        ["stdin: '{{ inputs.pw }}'", "env: { PW: 'x {{ vars.creds.pw }}' }", "stdin: '{{ site.secrets.token }}'"]
    {
        let compiled = with(&format!("ssh.run: {{ run: x, {argument} }}")).accepted();
        let secret = &compiled.plan.secrets[0];
        if argument.contains("site") {
            assert_eq!(compiled.plan.secrets[1].name, "site.secrets.token");
        }
        assert_eq!((secret.name.as_str(), &secret.origin), ("inputs.pw", &SecretOrigin::File("/secret/pw".to_owned())));
    }
    assert!(with("ssh.run: { run: 'x {{ vars.creds.user }}', stdin: '{{ inputs.pw }}' }").compile().is_ok());
}

#[test]
fn a_secret_is_refused_where_it_would_be_shown() {
    for step in [
        "ssh.run: { run: 'login {{ inputs.pw }}' }",
        "ssh.run: { argv: [login, '{{ vars.creds.pw }}'] }",
        "ssh.run: { run: '{{ site.secrets.token }}' }",
        "ssh.run: { run: x, stdin: '{{ inputs.pw }}' }\n    title: '{{ inputs.pw }}'",
        "ssh.run: { run: x, stdin: '{{ inputs.pw }}' }\n    when: inputs.pw == 'x'",
        "ssh.run: { run: x, stdin: '{{ inputs.pw }}' }\n    outputs: { x: '{{ vars.creds }}' }",
        "ssh.run: { run: x, stdin: '{{ inputs.pw }}' }\n    confirm: '{{ inputs.pw }}'",
        "ssh.run: { run: 'x {{ inputs.pw }} {{ run.id }}' }",
    ] {
        assert_eq!(with(step).refused(), ["secret-shown"], "{step}");
        assert_eq!(with(step).check().refused(), ["secret-shown"], "{step}");
    }
}

#[test]
fn nothing_can_be_computed_from_a_secret() {
    for text in [
        "{{ inputs.pw | b64encode }}",
        "{{ inputs.pw | upper }}",
        "{{ inputs.pw | shq }}",
        "{{ inputs.pw[0:2] }}",
        "{{ 'x' if inputs.pw == 'y' else 'z' }}",
        "{% if inputs.pw == 'y' %}x{% endif %}",
        "{% set x %}{{ inputs.pw }}{% endset %}{{ x | upper }}",
        "{% filter upper %}{{ inputs.pw }}{% endfilter %}",
    ] {
        let step = format!("ssh.run: {{ run: x, stdin: \"{text}\" }}");
        let found = with(&step).refused();
        assert!(["secret-changed", "template"].contains(&found[0]) && found.len() == 1, "{text}: {found:?}");
    }
}

#[test]
fn a_secret_never_comes_from_the_command_line_or_the_plan() {
    let plan = |input: &str| {
        Try::plan(&format!(
            "requorum: 1\nname: t\ninputs: {{ pw: {input} }}\nsteps:\n  - id: a\n    command.run: {{ run: x, stdin: '{{{{ inputs.pw }}}}' }}\n"
        ))
    };
    assert_eq!(plan("{ type: secret }").set("pw", "x").refused(), ["secret-on-command-line"]);
    assert_eq!(plan("{ type: secret }").refused(), ["missing-input"]);
    assert!(plan("{ type: secret }").check().compile().is_ok());
    assert_eq!(plan("{ type: secret, default: x }").set_file("pw", "f").refused(), ["secret-in-plan"]);
    let mut tried = plan("{ type: secret }");
    tried.given.environment.insert("REQUORUM_INPUT_PW".to_owned());
    assert_eq!(tried.accepted().plan.secrets[0].origin, SecretOrigin::Env("REQUORUM_INPUT_PW".to_owned()));
}
