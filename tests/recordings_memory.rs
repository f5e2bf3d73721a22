//! Recordings larger than the memory can be read: what is held while reading does not grow with the file.

use learned_control::dataset::mcap_writer::McapWriter;
use learned_control::dataset::messages::Float64MultiArray;
use learned_control::dataset::rosbag::Bag;
use learned_control::state::Stamp;
use mcap::WriteOptions;
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

struct Counted;
static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MOST.fetch_max(HELD.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// Bytes held at most, beyond those before, while a recording of 32 MB is read.
fn held_while_reading(folder: &Path, options: WriteOptions) -> usize {
    let mut writer = McapWriter::with_options(folder, options).unwrap();
    let mut message = Float64MultiArray { data: vec![0.0; 1000], ..Default::default() };
    for step in 0..4000 {
        message.data.iter_mut().enumerate().for_each(|(index, value)| *value = (step * 1000 + index) as f64);
        writer.write("/values", Stamp(step as i64), &message).unwrap();
    }
    writer.finish().unwrap();
    let before = HELD.load(Relaxed);
    MOST.store(before, Relaxed);
    let bag = Bag::open(folder).unwrap();
    assert_eq!(bag.messages(None).filter(|message| message.is_ok()).count(), 4000);
    MOST.load(Relaxed) - before
}

#[test]
fn a_recording_is_not_held_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let kinds = [
        ("packed", WriteOptions::new()),
        ("without_index", WriteOptions::new().emit_summary_records(false)),
        ("not_packed", WriteOptions::new().compression(None)),
        ("without_chunks", WriteOptions::new().use_chunks(false)),
    ];
    for (name, options) in kinds {
        let held = held_while_reading(&folder.path().join(name), options);
        println!("{name}: {held} bytes");
        assert!(held < 8 << 20, "{name}: {held} bytes");
    }
}
