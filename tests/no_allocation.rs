//! What runs in the control loop's tick must not allocate: counted, not believed.

use learned_control::predictor::{LstmPredictor, Predictor, PredictorConfig, PredictorModel, RealisedError};
use learned_control::state::{Stamp, State};
use learned_control::trajectory::Trajectory;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(mut work: impl FnMut()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

#[test]
fn a_prediction_does_not_allocate() {
    let joints: Vec<String> = (1..=7).map(|joint| format!("joint{joint}")).collect();
    let config = PredictorConfig::default();
    let model = PredictorModel::untrained(&joints, 0.01, config, &[1.0; 7]).unwrap();
    let mut predictor = LstmPredictor::new(&model).unwrap();
    let mut prediction = Trajectory::new(predictor.horizon(), joints.len());
    let mut realised = RealisedError::new(predictor.horizon(), joints.len());
    let mut state = State::zeros(joints.len());
    let counted = allocations(|| {
        for step in 0..500 {
            // with a pause and a step back, which clear the memory
            let milliseconds = if step < 200 { 7 * step } else { 10 * (step % 100) + 50 * step };
            state.stamp = Stamp(milliseconds * 1_000_000);
            predictor.observe(&state);
            realised.observe(&state);
            assert!(predictor.predict(&mut prediction));
            realised.remember(&state, &prediction);
        }
    });
    assert_eq!(counted, 0);
    assert!(allocations(|| drop(vec![0; 8])) > 0, "the count does not count");
}
