//! `meshd`, the MeshLink daemon. See the library for what it does.

use std::alloc::System;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// Overwrites what is freed, so that words, keys and passphrases are gone when nobody uses them any more.
#[global_allocator]
static HEAP: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    meshd::daemon::main()
}
