//! The program `requorum`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    // Local attempts are supervised by processes beside the engine. This is not a command for people, and must start fast.
    if let (Some(first), None) = (args.next(), args.next())
        && first == "capsule-supervise"
    {
        return requorum_steps::capsule::supervise();
    }
    requorum::cli::main()
}
