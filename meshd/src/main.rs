//! `meshd`, the MeshLink daemon. See the library for what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    meshd::daemon::main()
}
