use super::Simd;

/// Arrays of four, for processors of which we know nothing.
#[derive(Clone, Copy)]
pub struct Portable(pub(super) ());

type Vector = [f32; 4];

#[inline(always)]
fn each(value: impl Fn(usize) -> f32) -> Vector {
    [value(0), value(1), value(2), value(3)]
}

impl Simd for Portable {
    type Vector = Vector;
    const LANES: usize = 4;

    #[inline(always)]
    fn splat(self, value: f32) -> Vector {
        [value; 4]
    }

    #[inline(always)]
    fn load(self, values: &[f32]) -> Vector {
        each(|lane| values[lane])
    }

    #[inline(always)]
    fn store(self, vector: Vector, values: &mut [f32]) {
        values[..4].copy_from_slice(&vector);
    }

    #[inline(always)]
    fn add(self, a: Vector, b: Vector) -> Vector {
        each(|lane| a[lane] + b[lane])
    }

    #[inline(always)]
    fn mul(self, a: Vector, b: Vector) -> Vector {
        each(|lane| a[lane] * b[lane])
    }

    #[inline(always)]
    fn div(self, a: Vector, b: Vector) -> Vector {
        each(|lane| a[lane] / b[lane])
    }

    #[inline(always)]
    fn mul_add(self, a: Vector, b: Vector, c: Vector) -> Vector {
        each(|lane| a[lane] * b[lane] + c[lane])
    }

    #[inline(always)]
    fn clamp(self, a: Vector, limit: f32) -> Vector {
        each(|lane| a[lane].clamp(-limit, limit))
    }
}
