//! How much memory libgit2 may ask for at once. A pack may say of a few bytes that they stand for
//! gigabytes, and libgit2 believes it.

use std::ffi::{c_char, c_int, c_void};
use std::sync::Once;

/// More than any object that is sent as a difference to another, or that we read. Others are not held
/// in memory.
pub(super) const LIMIT: usize = 128 << 20;

/// As libgit2's `git_allocator`.
#[repr(C)]
struct Allocator {
    malloc: extern "C" fn(usize, *const c_char, c_int) -> *mut c_void,
    realloc: extern "C" fn(*mut c_void, usize, *const c_char, c_int) -> *mut c_void,
    free: extern "C" fn(*mut c_void),
}

/// The C library's, which libgit2 uses otherwise: what it allocated before can be freed by these.
#[allow(unsafe_code)]
mod c {
    use super::c_void;

    unsafe extern "C" {
        pub fn malloc(size: usize) -> *mut c_void;
        pub fn realloc(at: *mut c_void, size: usize) -> *mut c_void;
        pub fn free(at: *mut c_void);
        /// libgit2's word that memory ran out.
        pub fn git_error_set_oom();
    }
}

extern "C" fn malloc(size: usize, _file: *const c_char, _line: c_int) -> *mut c_void {
    // SAFETY: the C library's own, with the arguments that libgit2 means for it.
    #[allow(unsafe_code)]
    limited(size, || unsafe { c::malloc(size) })
}

extern "C" fn realloc(at: *mut c_void, size: usize, _file: *const c_char, _line: c_int) -> *mut c_void {
    // SAFETY: as above; `at` came from `malloc` or `realloc`.
    #[allow(unsafe_code)]
    limited(size, || unsafe { c::realloc(at, size) })
}

extern "C" fn free(at: *mut c_void) {
    // SAFETY: as above.
    #[allow(unsafe_code)]
    unsafe {
        c::free(at);
    }
}

fn limited(size: usize, allocate: impl FnOnce() -> *mut c_void) -> *mut c_void {
    let memory = if size > LIMIT { std::ptr::null_mut() } else { allocate() };
    if memory.is_null() {
        // SAFETY: it sets a message that is a constant.
        #[allow(unsafe_code)]
        unsafe {
            c::git_error_set_oom();
        }
    }
    memory
}

/// Sets the limit, for all of libgit2.
pub(super) fn limit() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        let allocator = Allocator { malloc, realloc, free };
        let option = libgit2_sys::GIT_OPT_SET_ALLOCATOR as c_int;
        // SAFETY: libgit2 copies the three pointers. Memory that others have allocated by now came
        // from the same C functions.
        #[allow(unsafe_code)]
        let set = unsafe {
            libgit2_sys::init();
            libgit2_sys::git_libgit2_opts(option, &raw const allocator)
        };
        if set < 0 {
            tracing::warn!("repositories may use as much memory as they like");
        }
    });
}
