//! The allocator of a program that counts what its threads allocate and free.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static FREED: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        FREED.with(|count| count.set(count.get() + 1));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What this thread has allocated so far.
pub fn allocated() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// How often `work` allocates or frees.
#[allow(dead_code)] // a benchmark looks at the count itself
pub fn allocations(mut work: impl FnMut()) -> u64 {
    let count = || allocated() + FREED.with(Cell::get);
    let before = count();
    work();
    count() - before
}
