//! Numbers that begin at the beginning of a cache line.

/// A cache line, and the widest vector.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([f32; Line::LENGTH]);

impl Line {
    const LENGTH: usize = 16;
}

/// f32s in whole cache lines.
#[derive(Clone, Debug)]
pub struct Memory(Vec<Line>);

impl Memory {
    /// At least `length` zeros.
    pub fn zeros(length: usize) -> Self {
        Self(vec![Line([0.0; Line::LENGTH]); length.div_ceil(Line::LENGTH)])
    }
}

impl std::ops::Deref for Memory {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: a line is so many f32s and nothing else, and lines lie one after the other.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * Line::LENGTH) }
    }
}

impl std::ops::DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * Line::LENGTH) }
    }
}
