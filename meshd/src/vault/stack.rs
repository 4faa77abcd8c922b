//! Work with secrets on a stack that is cleaned afterwards.
//!
//! What ciphers and hashes keep on the stack while they work stays there until something else is put over it, and a
//! thread that waits may not do that for days.

/// More than any of the work done apart needs, and less than a thread has.
const APART_BYTES: usize = 512 * 1024;
/// More than a node's work needs.
const NODE_BYTES: usize = 128 * 1024;

/// Does some work on a thread of its own, and cleans its stack before it ends.
///
/// # Panics
/// The work panics, or the system gives no thread.
pub fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let done = work();
            clean::<APART_BYTES>();
            done
        });
        match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Puts zeros over what a node's work has left on this thread's stack, below the caller's part of it.
pub fn clean_stack() {
    clean::<NODE_BYTES>();
}

/// Puts zeros over what calls before it left.
#[inline(never)]
fn clean<const BYTES: usize>() {
    let mut zeros = [0u8; BYTES];
    std::hint::black_box(&mut zeros);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_worked_out_is_given_back() {
        let words = String::from("outlives the thread");
        assert_eq!(apart(|| words.len()), 19);
    }
}
